"""Style files beside results: what a QGIS without the plugin sees, and whose files are left alone."""

from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtGui import QColor, QPainter

from changen2_qgis.results import add_detection_group, detection_groups
from changen2_qgis.run_folders import WORK_FOLDER, is_unfinished, remove_unfinished
from changen2_qgis.series_results import add_series_group
from changen2_qgis.style_files import keep_style
from changen2_qgis.styles import style_detection_layer

from .test_results import write_run


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def plain(path):
    """A file as QGIS opens it for somebody who has no plugin."""
    if path.endswith(".tif"):
        return QgsRasterLayer(path, "plain")
    return QgsVectorLayer(path, "plain", "ogr")


def legend(layer):
    renderer = layer.renderer()
    if layer.type() == layer.type().RasterLayer:
        return [(label, colour.name(QColor.NameFormat.HexArgb)) for label, colour in renderer.legendSymbologyItems()]
    return [(item.label(), item.ruleKey()) for item in renderer.legendSymbolItems()]


def test_a_result_opened_elsewhere_has_the_legends_of_the_plugin(project, run):
    add_detection_group(project, run, "Change", threshold=0.7)
    (group,) = detection_groups(project)
    for role in ("change_probability", "polygons"):
        opened, ours = plain(run[role]), group.layer(role)
        assert legend(opened) == legend(ours) and len(legend(opened)) > 2
        assert opened.customProperty("changen2/role") is None  # it is no part of a result of this project
    assert plain(run["polygons"]).labelsEnabled()
    assert legend(plain(run["change_probability"]))[0][0] == "0.70 (threshold)"


def test_the_binary_map_beside_polygons_of_its_name_keeps_its_own_colours(project, run):
    dataset = gdal.Open(run["change"], gdal.GA_Update)
    colours = gdal.ColorTable()
    colours.SetColorEntry(1, (215, 38, 61, 255))
    dataset.GetRasterBand(1).SetColorTable(colours)
    dataset = None
    before = plain(run["change"])
    add_detection_group(project, run, "Change")
    after = plain(run["change"])
    assert after.renderer().type() == before.renderer().type() == "paletted"
    assert legend(after) == legend(before)


def test_maps_and_events_of_a_series_have_legends_and_its_images_no_file(project, tmp_path, write_series):
    folder = Path(write_series(tmp_path / "run"))
    add_series_group(project, str(folder), "Synthesis")
    written = {path.name for path in tmp_path.rglob("*.qml")}
    steps = range(1, 4)
    assert written == {
        "labels_t0.qml",
        "change_events.qml",
        *(f"labels_t{step}.qml" for step in steps),
        *(f"change_t{step - 1}_t{step}.qml" for step in steps),
    }
    assert len(legend(plain(str(folder / "change_events.gpkg")))) >= 3


@pytest.mark.parametrize("role", ["change_probability", "polygons"])
def test_what_the_user_wrote_stays_and_does_not_rule_the_plugin(project, run, role):
    layer = plain(run[role])
    layer.setBlendMode(QPainter.CompositionMode.CompositionMode_Multiply)
    layer.setScaleBasedVisibility(True)
    layer.saveDefaultStyle()
    own = Path(run[role]).with_suffix(".qml")
    theirs = own.read_bytes()
    assert plain(run[role]).hasScaleBasedVisibility()
    add_detection_group(project, run, "Change", threshold=0.7)
    (group,) = detection_groups(project)
    shown = group.layer(role)
    assert own.read_bytes() == theirs
    assert len(legend(shown)) > 2 and not shown.hasScaleBasedVisibility()
    assert shown.blendMode() == QPainter.CompositionMode.CompositionMode_SourceOver


def test_what_nobody_changed_follows_a_result_that_replaced_the_former(project, run):
    style = Path(run["change_probability"]).with_suffix(".qml")
    for threshold in (0.7, 0.3):
        add_detection_group(project, run, "Change", threshold=threshold)
        assert legend(plain(run["change_probability"]))[0][0] == f"{threshold:.2f} (threshold)"
    changed = style.read_text(encoding="utf8").replace("threshold)", "my threshold)")
    style.write_text(changed, encoding="utf8")
    add_detection_group(project, run, "Change", threshold=0.5)
    assert style.read_text(encoding="utf8") == changed
    assert list(style.parent.glob("*unfinished*")) == []


def test_what_lies_elsewhere_gets_no_file(project, run, tmp_path):
    layer = plain(run["change"])
    style_detection_layer(layer, "change")
    Path(run["polygons"]).unlink()
    keep_style(layer, tmp_path / "another run")
    assert list(tmp_path.rglob("*.qml")) == []
    keep_style(layer, tmp_path / "run")
    assert [path.name for path in tmp_path.rglob("*.qml")] == ["change.qml"]


def test_where_nothing_can_be_written_nothing_is_said(project, run):
    blocked = Path(run["change_probability"]).with_suffix(".qml.unfinished")
    blocked.mkdir()  # also for root, whom no right keeps out
    add_detection_group(project, run, "Change")
    assert len(detection_groups(project)) == 1
    assert not blocked.with_suffix("").exists()


def test_a_folder_whose_new_run_is_given_up_keeps_its_styles(project, run):
    add_detection_group(project, run, "Change")
    folder = Path(run["change"]).parent
    (folder / WORK_FOLDER).mkdir()
    (folder / WORK_FOLDER / "journal.jsonl").write_text('{"job": 1}\n{"block": 0}\n')
    there = {path.name for path in folder.iterdir()} - {WORK_FOLDER}
    assert is_unfinished(folder)
    remove_unfinished(folder)
    assert {path.name for path in folder.iterdir()} == there
    assert "change.qml" in there
