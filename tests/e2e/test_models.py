"""The Models page in the real QGIS: a file of weights becomes a model, and the model nine classes on the map."""

import subprocess

import numpy as np
import pytest
from osgeo import gdal
from qgis.PyQt.QtGui import QImage

# Weights that anyone can rebuild from the names and shapes of the parameters: the right form, without knowledge.
REBUILD = """
import re, sys, zlib
import numpy, torch
state = {}
for line in open(sys.argv[1], encoding="utf8"):
    name, shape = line.split(None, 1)
    shape = tuple(int(side) for side in re.findall(r"\\d+", shape))
    x = numpy.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        x /= numpy.sqrt(numpy.prod(shape[1:]))
    else:
        x = 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
    state[name] = torch.from_numpy(x.astype(numpy.float32))
torch.save(state, sys.argv[2])
"""

CLASSES = ["unknown", "bareland", "rangeland", "developed space", "road", "tree", "water", "agriculture", "building"]


@pytest.fixture(scope="module")
def shared(request):
    """The folder beside the project, as the fixtures of single tests find it."""
    folder = request.config.rootpath.parent / "shared"
    keys = folder / "reference" / "changestar_vitb_s9c1_320x320.keys.txt"
    if not keys.exists():
        pytest.skip("needs reference in the folder 'shared' beside the project, which is not there")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def report(run_in_qgis, backend_python, shared, out):
    weights = out / "s9c1_cstar_vitb_1x256.pth"
    keys = shared / "reference" / "changestar_vitb_s9c1_320x320.keys.txt"
    subprocess.run([backend_python, "-c", REBUILD, keys, weights], check=True, timeout=180)
    scene = "import sys; from changen2.scenes.sample import write_sample; write_sample(sys.argv[1], size=256)"
    subprocess.run([backend_python, "-c", scene, out / "scene"], check=True, timeout=180)
    images = [out / "scene" / f"{date}.tif" for date in ("before", "after")]
    folder = {"CHANGEN2_MODELS": out / "installed", "CHANGEN2_E2E_WEIGHTS": weights}
    try:
        yield run_in_qgis("models_by_clicks.py", out, images, timeout=500, **folder)
    finally:  # 400 MB each
        for path in (weights, *(out / "installed").glob("*.safetensors")):
            path.unlink(missing_ok=True)


def test_the_licence_is_asked_in_plain_words(report):
    assert "You may not use them for anything commercial" in report["install"]["asked"]


def test_the_model_is_installed_and_verified(report):
    told = report["install"]
    assert told["state"] == "yes"
    assert "ChangeStar ViT-B: land cover is installed." in " ".join(told["messages"])
    assert "is unchanged" in " ".join(told["verified"])


def test_the_detect_page_offers_it_at_once(report):
    assert "ChangeStar ViT-B: land cover" in report["detect"]["offered"]


def test_the_result_has_nine_classes_in_the_published_colours(report):
    told = report["look"]
    assert {"semantic_before", "semantic_after", "change_probability", "polygons"} <= set(told["roles"])
    assert [label for label, _ in told["legend"]] == CLASSES
    assert dict(told["legend"])["water"] == "#0045ff" and dict(told["legend"])["building"] == "#de1f07"
    assert np.isin(gdal.Open(told["source"]).ReadAsArray(), [*range(9), 255]).all()


def test_the_layers_carry_the_licence(report):
    assert all(licences == ["CC-BY-NC-SA-4.0"] for licences in report["look"]["licences"].values())


def test_the_map_shows_the_classes_alone(report, out):
    image = QImage(str(out / "classes.png"))
    colours = {
        image.pixelColor(x, y).name()
        for x in range(image.width() // 4, 3 * image.width() // 4, 5)
        for y in range(image.height() // 4, 3 * image.height() // 4, 5)
    }
    assert colours <= {colour for _, colour in report["look"]["legend"]}
