"""The script behind `make demo`: a run folder becomes a QGIS project and a picture of the real window."""

import os
import subprocess
import zipfile
from xml.etree import ElementTree

import pytest
from qgis.PyQt.QtGui import QImage


@pytest.fixture(scope="module")
def demo(tmp_path_factory, backend_python, qgis_program, plugin_path, scene, run_to_its_end):
    out = tmp_path_factory.mktemp("demo")
    run = out / "run"
    code = "import sys, changen2; changen2.detect(*sys.argv[1:3], out_dir=sys.argv[3], bounds=None)"
    subprocess.run([backend_python, "-c", code, scene.before, scene.after, run], check=True, timeout=300)
    environ = {
        **os.environ,
        "QGIS_PLUGINPATH": str(plugin_path),
        "CHANGEN2_PYTHON": str(backend_python),
        "CHANGEN2_DEMO_RUN": str(run),
        "CHANGEN2_DEMO_PROJECT": str(out / "change.qgz"),
        "CHANGEN2_DEMO_PICTURE": str(out / "change.png"),
        "LC_ALL": "C.UTF-8",
    }
    environ.pop("QT_QPA_PLATFORM", None)
    command = ["xvfb-run", "-a", "-s", "-screen 0 1366x768x24", qgis_program, "--noversioncheck", "--nologo"]
    command += ["--code", str(plugin_path / "changen2_qgis" / "demo.py")]
    done = run_to_its_end(command, environ, out / "profiles", 240)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_the_project_holds_both_images_under_the_styled_result(demo):
    with zipfile.ZipFile(demo / "change.qgz") as archive:
        project = ElementTree.fromstring(archive.read("change.qgs"))
    tree = project.find("layer-tree-group")
    group = tree.find("layer-tree-group")
    assert group.get("name").startswith("Change: ")
    assert group.find("layer-tree-layer").get("name") == "Changed places"
    assert [layer.get("name") for layer in tree.findall("layer-tree-layer")] == ["Image after", "Image before"]
    layers = {layer.findtext("layername"): layer for layer in project.iter("maplayer")}
    assert layers["Changed places"].find("renderer-v2").get("type") == "categorizedSymbol"
    assert layers["Changed places"].get("labelsEnabled") == "1"
    assert layers["Change probability"].find("pipe/rasterrenderer").get("type") == "singlebandpseudocolor"


def test_the_picture_shows_the_window_with_the_change_on_the_map(demo):
    picture = QImage(str(demo / "change.png"))
    assert (picture.width(), picture.height()) == (1366, 768)
    ramp = 0
    for x in range(300, 1000, 3):
        for y in range(120, 720, 3):
            colour = picture.pixelColor(x, y)
            ramp += colour.red() > 150 and colour.green() < 150 and colour.blue() < 90
    assert ramp > 100
