"""What a card keeps of a calibration that was measured on probabilities which were scaled already, or may have been."""

import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.shutil import copy as gdal_copy

from changen2.errors import InputError
from changen2.jobs.detection.origin import MODEL, SCALING
from changen2.jobs.evaluate import evaluate
from changen2.models import store
from changen2.models.registry import card_of

PLATT = {"a": 0.5, "b": 1.0}


@pytest.fixture
def truth(write_raster):
    label = np.zeros((1, 300, 400), np.uint8)
    label[:, 100:160, 150:230] = 1
    return write_raster("label.tif", label)


@pytest.fixture
def keep(models_folder, truth):
    """Install "mine" with a scaling, keep what a map says in its card, and return the card's scaling then."""

    def keep(prediction, reference=truth, platt=PLATT):
        calibration = {"ece": 0.1, "platt": platt} if platt else {}
        given = {"name": "mine", "embedded": False, "calibration": calibration}
        store.write_model(card_of("tiny").model_copy(update=given), {})
        evaluate(prediction, reference, store="mine")
        return card_of("mine").model_dump()["calibration"]["platt"]

    return keep


@pytest.fixture
def probability(write_raster):
    """Write a map of a probability with tags, ``probability(name, model, scaling)``."""

    def write(name, model="mine", scaling=None):
        values = np.full((1, 300, 400), 40, np.uint8)
        values[:, 110:170, 150:230] = 180
        path = write_raster(name, values, nodata=0)
        with rasterio.open(path, "r+") as dataset:
            dataset.set_band_description(1, "Change probability")
            if scaling:
                dataset.update_tags(**{MODEL: model, SCALING: scaling})
        return path

    return write


def test_a_copy_of_a_scaled_map_gives_both_scalings_as_one(pair, truth, tmp_path, difference, keep, monkeypatch):
    from changen2.jobs.detection import plan

    scaled = plan.card_of("any").model_copy(update={"name": "mine", "calibration": {"platt": PLATT}})
    monkeypatch.setattr(plan, "card_of", lambda name, task="detect": scaled)
    made = difference(*pair, tmp_path / "run")["outputs"]["change_probability"]
    inside = keep(made)
    assert inside != PLATT
    for name, driver in (("moved.tif", "GTiff"), ("moved.vrt", "VRT")):
        gdal_copy(made, tmp_path / name, driver=driver)
        assert keep(tmp_path / name) == inside


def test_a_map_that_says_that_it_was_not_scaled_is_measured_alone(keep, probability):
    raw, scaled = keep(probability("raw.tif", scaling="1.0 0.0")), keep(probability("scaled.tif", scaling="0.5 1.0"))
    assert scaled == {"a": 0.5 * raw["a"], "b": raw["a"] + raw["b"]}


def test_a_map_that_says_nothing_is_refused_where_the_card_scales(keep, probability):
    path = probability("moved.tif")
    with pytest.raises(InputError, match=r"nothing tells whether it was applied to .*moved\.tif") as caught:
        keep(path)
    assert caught.value.code == "bad_value" and card_of("mine").model_dump()["calibration"]["platt"] == PLATT
    assert keep(path, platt=None), "a model without a scaling wrote its own probability"


def test_the_map_says_more_than_what_lies_beside_it(keep, probability, tmp_path):
    (tmp_path / "manifest.json").write_text('{"job": "detect", "model": {"name": "mine"}, "scaling": null}')
    older, tagged = keep(probability("older.tif")), keep(probability("tagged.tif", scaling="0.5 1.0"))
    assert tagged == {"a": 0.5 * older["a"], "b": older["a"] + older["b"]}
    (tmp_path / "manifest.json").write_text('{"job": "generate"}')
    with pytest.raises(InputError, match="nothing tells"):
        keep(probability("older.tif"))
    with pytest.raises(InputError, match=r"tagged\.tif was made by other"):
        keep(probability("tagged.tif", "other", "1.0 0.0"))


def test_the_parts_of_a_mosaic_tell(keep, probability, tmp_path):
    first, second = (probability(f"{name}.tif", scaling="0.5 1.0") for name in ("first", "second"))
    source = (
        "<SimpleSource><SourceFilename relativeToVRT='1'>{name}</SourceFilename><SourceBand>1</SourceBand>"
        "<SrcRect xOff='{x}' yOff='0' xSize='200' ySize='300'/><DstRect xOff='{x}' yOff='0' xSize='200' ySize='300'/>"
        "</SimpleSource>"
    )
    parts = [source.format(name=path.name, x=x) for path, x in ((first, 0), (second, 200))]
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        "<VRTDataset rasterXSize='400' rasterYSize='300'><SRS>EPSG:32633</SRS>"
        f"<GeoTransform>{', '.join(map(str, Affine(0.5, 0, 500_000, 0, -0.5, 5_200_000).to_gdal()))}</GeoTransform>"
        f"<VRTRasterBand dataType='Byte' band='1'><NoDataValue>0</NoDataValue>{''.join(parts)}</VRTRasterBand>"
        "</VRTDataset>"
    )
    assert keep(mosaic) == keep(first)
    with rasterio.open(second, "r+") as dataset:
        dataset.update_tags(**{SCALING: "1.0 0.0"})
    with pytest.raises(InputError, match="were scaled differently"):
        keep(mosaic)


def test_maps_of_a_folder_have_to_agree(keep, probability, truth, tmp_path, write_raster):
    for folder in ("maps", "known"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "mask"):
        shutil.copy(truth, tmp_path / "known" / f"{name}.tif")
    shutil.copy(truth, tmp_path / "maps" / "mask.tif")
    one = keep(probability("maps/a.tif", scaling="0.5 1.0"), tmp_path / "known" / "a.tif")
    probability("maps/b.tif", scaling="0.5 1.0")
    assert keep(tmp_path / "maps", tmp_path / "known") == pytest.approx(one, rel=1e-3)
    probability("maps/b.tif", scaling="1.0 0.0")
    with pytest.raises(InputError, match=r"a\.tif and .*b\.tif were scaled differently") as caught:
        keep(tmp_path / "maps", tmp_path / "known")
    assert caught.value.code == "bad_value"
