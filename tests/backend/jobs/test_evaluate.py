import numpy as np
import pyogrio
import pytest
import shapely

from changen2.errors import InputError
from changen2.jobs.evaluate import evaluate


@pytest.fixture
def truth():
    label = np.zeros((1, 300, 400), np.uint8)
    label[:, 100:160, 150:230] = 255
    return label


def test_a_map_against_itself_is_right(truth, write_raster):
    path = write_raster("label.png", truth)
    found = evaluate(path, path)
    assert found["f1"] == found["kappa"] == found["iou_low"] == 1 and found["pixels"] == 300 * 400


def test_a_detection_against_its_truth(pair, truth, tmp_path, write_raster, difference):
    outputs = difference(*pair, tmp_path / "run")["outputs"]
    label = write_raster("label.tif", truth)
    binary, stored = (evaluate(outputs[name], label) for name in ("change", "change_probability"))
    assert binary == stored and 0.8 < binary["f1"] < 1
    square = shapely.box(500_075, 5_199_920, 500_115, 5_199_950)
    pyogrio.raw.write(
        tmp_path / "truth.gpkg", np.array([shapely.to_wkb(square)], dtype=object), field_data=[], fields=[],
        geometry_type="Polygon", crs="EPSG:32633",
    )  # fmt: skip
    assert evaluate(outputs["change"], tmp_path / "truth.gpkg")["f1"] == pytest.approx(binary["f1"])


def test_nodata_is_left_out_and_a_reference_may_lie_on_another_grid(truth, write_raster):
    from affine import Affine

    predicted = (truth > 0).astype(np.uint8)
    predicted[:, :50] = 255
    path = write_raster("p.tif", predicted, nodata=255)
    coarse = write_raster("r.tif", truth[:, ::2, ::2], transform=Affine(1, 0, 500_000, 0, -1, 5_200_000))
    found = evaluate(path, coarse)
    assert found["pixels"] == 250 * 400 and found["f1"] == 1


def test_folders_are_compared_by_name(truth, tmp_path, write_raster):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("one.png", "two.png"):
            write_raster(f"{folder}/{name}", truth)
    assert evaluate(tmp_path / "a", tmp_path / "b")["units"] == 2
    (tmp_path / "b/two.png").unlink()
    with pytest.raises(InputError) as caught:
        evaluate(tmp_path / "a", tmp_path / "b")
    assert "two.png" in caught.value.message


def test_points_adjust_the_area(truth, tmp_path, write_raster):
    path = write_raster("p.tif", (truth > 0).astype(np.uint8))
    random = np.random.default_rng(0)
    rows, columns = random.integers(0, 300, 400), random.integers(0, 400, 400)
    on_change = random.integers([100, 150], [160, 230], (100, 2))
    rows, columns = np.append(rows, on_change[:, 0]), np.append(columns, on_change[:, 1])
    labels = (truth[0, rows, columns] > 0).astype(int)
    labels[::20] = 1 - labels[::20]
    points = shapely.points(500_000 + (columns + 0.5) * 0.5, 5_200_000 - (rows + 0.5) * 0.5)
    pyogrio.raw.write(
        tmp_path / "points.gpkg", shapely.to_wkb(points), field_data=[labels], fields=["reference"],
        geometry_type="Point", crs="EPSG:32633",
    )  # fmt: skip
    found = evaluate(path, None, points=tmp_path / "points.gpkg")["area_adjusted"]
    assert found["points"] == 500 and found["area_unit"] == "m2"
    assert found["overall"][0]["low"] < 0.95 < found["overall"][0]["high"]
    assert sum(area["value"] for area in found["area"]) == pytest.approx(300 * 400 * 0.25, rel=2e-3)
