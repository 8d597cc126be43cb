"""Groups, styles and legends of a detection result, on small files written as the backend writes them."""

import json
import shutil
import zipfile
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from osgeo import gdal, ogr, osr
from qgis.core import (
    QgsFillSymbol,
    QgsGeometry,
    QgsLayerDefinition,
    QgsLayerTreeLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleBandGrayRenderer,
    QgsSingleSymbolRenderer,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtXml import QDomDocument

from changen2_qgis.result_groups import FOLDER
from changen2_qgis.results import (
    DetectionGroup,
    add_detection_group,
    add_run_folder,
    describe,
    detection_groups,
    find_group,
    is_there,
)
from changen2_qgis.styles import first_value_at, set_probability_threshold, style_as_seen, style_detection_layer

gdal.UseExceptions()
WIDTH, HEIGHT = 40, 30


def write_raster(path, values, nodata, crs=32633, transform=(500000, 0.5, 0, 5000000, 0, -0.5)):
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), WIDTH, HEIGHT, 1, gdal.GDT_Byte)
    if crs:
        dataset.SetGeoTransform(transform)
        srs = osr.SpatialReference()
        srs.ImportFromEPSG(crs)
        dataset.SetProjection(srs.ExportToWkt())
    dataset.GetRasterBand(1).WriteArray(values)
    dataset.GetRasterBand(1).SetNoDataValue(nodata)
    dataset = None
    return str(path)


def write_polygons(path, boxes, crs=32633):
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    srs = None
    if crs:
        srs = osr.SpatialReference()
        srs.ImportFromEPSG(crs)
    layer = dataset.CreateLayer("change", srs, ogr.wkbPolygon)
    for name, kind in (
        ("area_m2", ogr.OFTReal),
        ("area_px", ogr.OFTInteger64),
        ("mean_probability", ogr.OFTReal),
        ("from_class", ogr.OFTString),
        ("to_class", ogr.OFTString),
        ("review", ogr.OFTString),
    ):
        layer.CreateField(ogr.FieldDefn(name, kind))
    for left, bottom, right, top in boxes:
        feature = ogr.Feature(layer.GetLayerDefn())
        ring = f"{left} {bottom},{right} {bottom},{right} {top},{left} {top},{left} {bottom}"
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON(({ring}))"))
        if crs:
            feature.SetField("area_m2", abs((right - left) * (top - bottom)))
        feature.SetField("area_px", 16)
        feature.SetField("mean_probability", 0.8)
        feature.SetField("review", "unreviewed")
        layer.CreateFeature(feature)
    dataset = None
    return str(path)


def write_run(folder, crs=32633, boxes=((500002, 4999990, 500006, 4999995), (500010, 4999987, 500012, 4999999))):
    """A run folder whose probability rises from left to right, with nodata in the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    values = np.tile(np.linspace(1, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
    values[0] = 0
    binary = np.where(values == 0, 255, values >= 128).astype(np.uint8)
    return {
        "change_probability": write_raster(folder / "change_probability.tif", values, 0, crs),
        "change": write_raster(folder / "change.tif", binary, 255, crs),
        "polygons": write_polygons(folder / "change.gpkg", boxes, crs),
    }


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def alpha(layer):
    """Alpha 0..255 of the layer drawn at its own pixels, (height, width)."""
    block = layer.renderer().block(1, layer.extent(), WIDTH, HEIGHT)
    return np.array([[block.color(row, col) >> 24 & 255 for col in range(WIDTH)] for row in range(HEIGHT)])


def test_the_group_holds_styled_layers_from_polygons_down_to_probability(project, run):
    node = add_detection_group(project, run, "Change 2026-11-23")
    assert project.layerTreeRoot().children()[0] == node
    assert [tree.name() for tree in node.findLayers()] == [
        "Changed places",
        "Change (yes or no)",
        "Change probability",
    ]
    assert [tree.isVisible() for tree in node.findLayers()] == [True, False, True]


def test_the_group_says_what_was_found(project, run):
    node = add_detection_group(project, run, "Change 2026-11-23")
    assert node.name() == "Change 2026-11-23: 2 changed places, 44\u00a0m²"


def test_finding_nothing_is_said_in_words(project, tmp_path):
    node = add_detection_group(project, write_run(tmp_path / "empty", boxes=()), "Change 2026-11-23")
    assert node.name() == "Change 2026-11-23: no change found"


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"polygons": 1, "change_area_m2": 12.4}, "1 changed place, 12\u00a0m²"),
        ({"polygons": 1200, "change_area_m2": 23456.0}, "1,200 changed places, 2.3\u00a0ha"),
        ({"polygons": 3, "change_area_m2": None}, "3 changed places"),
        ({"polygons": 0, "change_area_m2": 0.0}, "no change found"),
    ],
)
def test_describe(summary, words):
    assert describe(summary) == words


@pytest.mark.parametrize("threshold", [0.0, 0.003, 0.25, 0.5, 0.77, 0.999, 1.0])
def test_first_value_reaches_the_threshold_and_the_one_before_does_not(threshold):
    value = first_value_at(threshold)
    assert (value - 1) / 254 >= threshold - 1e-9
    assert value == 1 or (value - 2) / 254 < threshold


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9, 1.0])
def test_probability_is_drawn_exactly_where_it_reaches_the_threshold(run, threshold):
    layer = QgsRasterLayer(run["change_probability"], "p", "gdal")
    set_probability_threshold(layer, threshold)
    values = gdal.Open(run["change_probability"]).ReadAsArray().astype(int)
    expected = (values > 0) & (values >= first_value_at(threshold))
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(alpha(layer) > 0, expected)


def test_the_threshold_that_is_shown_can_be_told(project, run):
    group = DetectionGroup(add_detection_group(project, run, "Change", threshold=0.4567))
    assert group.shown_threshold == 0.4567
    for percent in range(1, 100):
        group.show_threshold(percent / 100)
        assert round(group.shown_threshold, 2) == percent / 100
    layer = group.layer("change_probability")
    layer.setRenderer(QgsSingleBandGrayRenderer(layer.dataProvider(), 1))
    assert group.shown_threshold == group.threshold


def test_the_probability_legend_names_the_threshold(run):
    layer = QgsRasterLayer(run["change_probability"], "p", "gdal")
    set_probability_threshold(layer, 0.37)
    function = layer.renderer().shader().rasterShaderFunction()
    labels = [item.label for item in function.colorRampItemList()]
    assert labels[0] == "0.37 (threshold)" and labels[-1] == "1.00 (certain)"
    nodes = layer.renderer().createLegendNodes(QgsLayerTreeLayer(layer))
    assert [node.data(0) for node in nodes][-len(labels) :] == labels


def test_binary_change_shows_only_change(run):
    layer = QgsRasterLayer(run["change"], "c", "gdal")
    style_detection_layer(layer, "change")
    np.testing.assert_array_equal(alpha(layer) > 0, gdal.Open(run["change"]).ReadAsArray() == 1)
    assert [label for label, _ in layer.renderer().legendSymbologyItems()] == ["Change", "No change"]


def test_class_maps_are_named_and_coloured_by_the_file(run):
    dataset = gdal.Open(run["change"], gdal.GA_Update)
    dataset.SetMetadata({"CLASS_0": "ground", "CLASS_1": "building"})
    colours = gdal.ColorTable()
    colours.SetColorEntry(1, (215, 38, 61, 255))
    dataset.GetRasterBand(1).SetColorTable(colours)
    dataset = None
    layer = QgsRasterLayer(run["change"], "s", "gdal")
    style_detection_layer(layer, "semantic_after")
    items = layer.renderer().legendSymbologyItems()
    assert [label for label, _ in items] == ["ground", "building"]
    assert items[1][1].name() == "#d7263d"


@pytest.fixture
def damage(run, tmp_path):
    """The run with grades of damage in columns, 0 and 1 for none, as the backend writes them."""
    grades = np.tile(np.arange(WIDTH, dtype=np.uint8) * 5 // WIDTH, (HEIGHT, 1))
    grades[0] = 255
    path = write_raster(tmp_path / "run" / "change_class.tif", grades, 255)
    dataset = gdal.Open(path, gdal.GA_Update)
    names = ("no building", "no damage", "minor damage", "major damage", "destroyed")
    tags = {f"CLASS_{grade}": name for grade, name in enumerate(names)}
    dataset.SetMetadata({**tags, "UNCHANGED_CLASSES": "0 1"})
    colours = gdal.ColorTable()
    for grade, colour in enumerate(((189, 189, 189, 255), (44, 123, 182, 255), (255, 224, 102, 255))):
        colours.SetColorEntry(grade, colour)
    dataset.GetRasterBand(1).SetColorTable(colours)
    dataset = None
    return {**run, "change_class": path}


def test_kinds_of_change_are_shown_by_name_and_leave_the_unchanged_image_visible(project, damage):
    node = add_detection_group(project, damage, "Change")
    (tree,) = [tree for tree in node.findLayers() if tree.name() == "Class of change"]
    assert tree.isVisible()
    labels = [label for label, _ in tree.layer().renderer().legendSymbologyItems()]
    assert labels == ["no building", "no damage", "minor damage", "major damage", "destroyed"]
    grades = gdal.Open(damage["change_class"]).ReadAsArray()
    np.testing.assert_array_equal(alpha(tree.layer()) > 0, (grades > 1) & (grades < 255))


def write_manifest(folder, noncommercial):
    model = {"name": "big", "title": "Big model", "licence": "CC-BY-NC-SA-4.0", "noncommercial": noncommercial}
    (folder / "manifest.json").write_text(json.dumps({"model": model}))


def test_a_noncommercial_licence_goes_with_every_layer_into_the_project(project, run, tmp_path):
    write_manifest(tmp_path / "run", noncommercial=True)
    add_detection_group(project, run, "Change")
    assert project.write(str(tmp_path / "town.qgz"))
    project.clear()
    assert project.read(str(tmp_path / "town.qgz"))
    layers = list(project.mapLayers().values())
    assert len(layers) == 3
    for layer in layers:
        assert layer.metadata().licenses() == ["CC-BY-NC-SA-4.0"]
        assert "Big model" in layer.metadata().rights()[0] and "not for commercial use" in layer.metadata().rights()[0]


def test_the_licence_stays_when_another_threshold_takes_the_place(project, run, tmp_path):
    write_manifest(tmp_path / "run", noncommercial=True)
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    other = write_run(tmp_path / "run" / "threshold")
    group.replace({role: other[role] for role in ("change", "polygons")}, 0.3)
    for role in ("change", "polygons"):
        assert group.layer(role).metadata().licenses() == ["CC-BY-NC-SA-4.0"]


def test_a_free_licence_of_the_weights_is_not_put_on_the_results(project, run, tmp_path):
    write_manifest(tmp_path / "run", noncommercial=False)
    add_detection_group(project, run, "Change")
    assert all(not layer.metadata().licenses() for layer in project.mapLayers().values())


def test_an_unknown_kind_is_refused(run):
    with pytest.raises(ValueError, match=r"'heatmap'.*change_probability"):
        style_detection_layer(QgsRasterLayer(run["change"], "c", "gdal"), "heatmap")


def test_polygons_have_a_legend_by_review_and_labels_of_area(run):
    layer = QgsVectorLayer(run["polygons"] + "|layername=change", "p", "ogr")
    style_detection_layer(layer, "polygons")
    assert [category.value() for category in layer.renderer().categories()] == [
        "unreviewed",
        "confirmed",
        "rejected",
    ]
    assert layer.labelsEnabled()
    names = [layer.attributeDisplayName(index) for index in range(layer.fields().count())]
    assert "Area (m²)" in names


def test_a_place_that_the_user_adds_is_to_review_and_so_is_drawn(project, run):
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    layer = group.layer("polygons")
    shape = QgsGeometry.fromRect(QgsRectangle(500014, 4999990, 500016, 4999992))
    assert QgsVectorLayerUtils.createFeature(layer, shape)["review"] == "unreviewed"


def test_an_input_is_there_wherever_gdal_finds_it(run, tmp_path):
    plain = run["change_probability"]
    zipped, table = f"/vsizip/{tmp_path}/scenes.zip/town.tif", f"GPKG:{tmp_path}/scenes.gpkg:town"
    assert [is_there(path) for path in (plain, zipped, table, "")] == [True, False, False, False]
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(plain, "town.tif")
    gdal.Translate(f"{tmp_path}/scenes.gpkg", plain, format="GPKG", creationOptions=["RASTER_TABLE=town"])
    gdal.Unlink(plain)
    assert [is_there(path) for path in (plain, zipped, table)] == [False, True, True]


def test_a_group_is_found_again_with_its_folder_and_threshold(project, run, tmp_path):
    add_detection_group(project, run, "Change", threshold=0.4)
    saved = str(tmp_path / "project.qgz")
    assert project.write(saved)
    project.clear()
    assert project.read(saved)
    (group,) = detection_groups(project)
    assert group.threshold == pytest.approx(0.4)
    assert group.folder == str(tmp_path / "run")
    assert group.layer("polygons").featureCount() == 2
    assert group.layer("semantic_after") is None


def test_review_is_written_to_the_file(project, run):
    (group,) = [add_detection_group(project, run, "Change")] and detection_groups(project)
    feature = next(group.layer("polygons").getFeatures())
    assert group.set_review(feature.id(), "confirmed")
    reopened = QgsVectorLayer(run["polygons"] + "|layername=change", "again", "ogr")
    assert reopened.getFeature(feature.id())["review"] == "confirmed"


def test_review_in_an_editing_session_can_be_undone(project, run):
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    layer = group.layer("polygons")
    feature_id = next(layer.getFeatures()).id()
    layer.startEditing()
    assert group.set_review(feature_id, "rejected")
    layer.undoStack().undo()
    assert layer.getFeature(feature_id)["review"] == "unreviewed"
    layer.rollBack()


def test_review_of_a_polygon_that_is_gone_is_refused(project, run):
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    assert group.set_review(999, "confirmed") is False


def test_another_threshold_swaps_the_files_and_keeps_reviews_of_unchanged_polygons(project, run, tmp_path):
    add_detection_group(project, run, "Change", threshold=0.5)
    (group,) = detection_groups(project)
    first, second = [feature.id() for feature in group.layer("polygons").getFeatures()]
    group.set_review(first, "confirmed")
    group.set_review(second, "rejected")
    other = write_run(
        tmp_path / "run" / "threshold_0.70",
        boxes=((500002, 4999990, 500006, 4999995), (500010, 4999990, 500012, 4999999)),
    )
    assert group.replace(other, 0.7) == (1, 1)
    assert [f["review"] for f in group.layer("polygons").getFeatures()] == ["confirmed", "unreviewed"]
    assert group.layer("polygons").source().startswith(other["polygons"])
    assert group.layer("change").source() == other["change"]
    assert group.threshold == pytest.approx(0.7)
    assert group.name == "Change: 2 changed places, 38\u00a0m²"


@pytest.fixture
def other(project, run, tmp_path):
    """The files of another threshold: the first place as before, the second one smaller."""
    boxes = ((500002, 4999990, 500006, 4999995), (500010, 4999990, 500012, 4999994))
    files = write_run(tmp_path / "run" / "threshold 0.70", boxes=boxes)
    return {role: files[role] for role in ("change", "polygons")}


def look(layer):
    """All of a layer's style as text."""
    document = QDomDocument()
    layer.exportNamedStyle(document)
    return document.toString()


def test_another_threshold_changes_the_places_and_no_look(project, run, other):
    group = DetectionGroup(add_detection_group(project, run, "Change"))
    polygons, change = group.layer("polygons"), group.layer("change")
    before = look(polygons), look(change)
    group.replace(other, 0.7)
    assert polygons.source().startswith(other["polygons"])
    assert (look(polygons), look(change)) == before


def test_another_threshold_is_the_one_that_the_probability_is_drawn_from(project, run, other):
    group = DetectionGroup(add_detection_group(project, run, "Change", threshold=0.5))
    group.replace(other, 0.7)
    assert group.layer("change_probability").renderer().classificationMin() == first_value_at(0.7)


@pytest.fixture
def finished(run, tmp_path):
    """The folder of a run at a threshold of 0.3, with its manifest."""
    manifest = {
        "job": "detect",
        "parameters": {"min_area": 0},
        "summary": {"polygons": 2, "threshold": 0.3},
        "outputs": run,
    }
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    return str(tmp_path / "run")


def test_a_run_comes_with_its_own_threshold(project, finished):
    group = DetectionGroup(add_run_folder(project, finished, "Change"))
    assert group.threshold == pytest.approx(0.3)
    assert group.layer("change_probability").renderer().classificationMin() == first_value_at(0.3)


def test_marks_of_another_threshold_come_with_the_run(project, finished, other):
    group = DetectionGroup(add_run_folder(project, finished, "Change"))
    group.replace(other, 0.7)
    assert group.set_review(next(group.layer("polygons").getFeatures()).id(), "rejected")
    project.clear()
    group = DetectionGroup(add_run_folder(project, finished, "Change"))
    assert [place["review"] for place in group.layer("polygons").getFeatures()] == ["rejected", "unreviewed"]


def test_another_threshold_leaves_to_the_user_what_the_user_has_changed(project, run, other):
    node = add_detection_group(project, run, "Change")
    group = DetectionGroup(node)
    polygons, change, probability = (group.layer(role) for role in ("polygons", "change", "change_probability"))
    node.setName("North block, for the mayor")
    polygons.setName("Houses built")
    polygons.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple({"color": "#0000ff"})))
    polygons.setLabelsEnabled(False)
    polygons.setOpacity(0.5)
    polygons.setFieldAlias(polygons.fields().indexFromName("area_m2"), "Fläche")
    for raster in (change, probability):
        raster.setOpacity(0.4)
    before = look(polygons), look(change)
    group.replace(other, 0.7)
    assert group.name == "North block, for the mayor" and polygons.name() == "Houses built"
    assert (look(polygons), look(change)) == before
    assert probability.opacity() == pytest.approx(0.4)


@pytest.mark.parametrize(("wanted", "shown"), [('"area_m2" > 10', 1), ("\"owner\" = 'town'", 2)])
def test_a_filter_stays_at_another_threshold_where_it_can_and_hides_no_mark(project, run, other, wanted, shown):
    dataset = ogr.Open(run["polygons"], 1)
    dataset.GetLayer(0).CreateField(ogr.FieldDefn("owner", ogr.OFTString))
    dataset = None
    group = DetectionGroup(add_detection_group(project, run, "Change"))
    polygons = group.layer("polygons")
    for place in polygons.getFeatures():
        group.set_review(place.id(), "confirmed")
    assert polygons.setSubsetString(wanted)
    group.replace(other, 0.7)
    assert group.count == shown and group.name == "Change: 2 changed places, 28\u00a0m²"
    polygons.setSubsetString("")
    assert [place["review"] for place in polygons.getFeatures()] == ["confirmed", "unreviewed"]


def test_layers_whose_files_had_gone_look_like_results_at_another_threshold(project, run, other):
    group = DetectionGroup(add_detection_group(project, run, "Change"))
    polygons, change = group.layer("polygons"), group.layer("change")
    before = [item.label() for item in polygons.renderer().legendSymbolItems()]
    for layer, provider in ((polygons, "ogr"), (change, "gdal")):
        layer.setDataSource("/nowhere/at.all", layer.name(), provider)
        assert not layer.isValid()
    group.replace(other, 0.7)
    assert [item.label() for item in polygons.renderer().legendSymbolItems()] == before
    assert [label for label, _ in change.renderer().legendSymbologyItems()] == ["Change", "No change"]


def test_polygons_of_a_raster_without_crs_are_flipped_onto_it(project, tmp_path):
    run = write_run(tmp_path / "pixels", crs=None, boxes=((4, 6, 9, 12),))
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    raster, polygons = group.layer("change_probability"), group.layer("polygons")
    assert raster.extent() == QgsRectangle(0, -HEIGHT, WIDTH, 0)
    assert polygons.extent() == QgsRectangle(4, -12, 9, -6)
    feature = next(polygons.getFeatures())
    assert group.set_review(feature.id(), "confirmed")
    original = QgsVectorLayer(run["polygons"] + "|layername=change", "original", "ogr")
    assert original.extent() == QgsRectangle(4, 6, 9, 12)
    assert original.getFeature(feature.id())["review"] == "confirmed"


@pytest.mark.parametrize("saved", [True, False])
def test_the_original_of_flipped_polygons_is_marked_once_the_edit_session_is_saved(project, tmp_path, saved):
    run = write_run(tmp_path / "pixels", crs=None, boxes=((4, 6, 9, 12), (14, 6, 19, 12)))
    group = DetectionGroup(add_detection_group(project, run, "Change"))
    polygons = group.layer("polygons")

    def marks(layer):
        return [feature["review"] for feature in layer.getFeatures()]

    def original():
        return marks(QgsVectorLayer(run["polygons"] + "|layername=change", "original", "ogr"))

    polygons.startEditing()
    for feature, state in zip(polygons.getFeatures(), ("confirmed", "rejected"), strict=True):
        assert group.set_review(feature.id(), state)
    assert original() == ["unreviewed"] * 2
    assert polygons.commitChanges() if saved else polygons.rollBack()
    assert original() == marks(polygons) == (["confirmed", "rejected"] if saved else ["unreviewed"] * 2)


def draw(layer, box):
    """Draw a place by hand, as an edit session that is saved leaves it."""
    feature = QgsVectorLayerUtils.createFeature(layer, QgsGeometry.fromRect(box))
    assert layer.startEditing() and layer.addFeature(feature) and layer.commitChanges()
    return next(place.id() for place in layer.getFeatures() if place.geometry().equals(feature.geometry()))


@pytest.fixture
def pixels(tmp_path):
    """A run on images without CRS, as its folder holds it."""
    folder = tmp_path / "pixels"
    run = write_run(folder, crs=None, boxes=((4, 6, 9, 12),))
    manifest = {
        "began": (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat(),
        "parameters": {"min_area": 0},
        "summary": {"polygons": 1, "threshold": 0.5},
        "outputs": run,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


DRAWN = QgsRectangle(20, -25, 25, -20)


def test_what_was_drawn_over_images_without_crs_comes_back_with_the_run(project, pixels):
    add_run_folder(project, str(pixels), "Change")
    (group,) = detection_groups(project)
    drawn = draw(group.layer("polygons"), DRAWN)
    assert group.set_review(drawn, "confirmed")
    project.clear()
    add_run_folder(project, str(pixels), "Change")
    (group,) = detection_groups(project)
    places = {
        place.geometry().boundingBox().toString(0): place["review"] for place in group.layer("polygons").getFeatures()
    }
    assert places == {"4,-12 : 9,-6": "unreviewed", DRAWN.toString(0): "confirmed"}


def test_what_was_drawn_over_images_without_crs_comes_back_with_the_threshold(project, pixels):
    add_run_folder(project, str(pixels), "Change")
    (group,) = detection_groups(project)
    draw(group.layer("polygons"), DRAWN)
    group.replace(write_run(pixels / "threshold 0.70", crs=None, boxes=((4, 6, 9, 12),)), 0.7)
    assert group.layer("polygons").featureCount() == 1
    group.replace(group.made_before(0.5), 0.5)
    assert group.layer("polygons").featureCount() == 2


def test_without_marks_no_place_is_read_for_them(project, pixels, monkeypatch):
    group = DetectionGroup(add_run_folder(project, str(pixels), "Change"))
    polygons = group.layer("polygons")
    monkeypatch.setattr(polygons, "getFeatures", lambda: pytest.fail("the shapes of a million places take seconds"))
    assert group.carry_reviews_of_run() == (0, 0)


@pytest.mark.parametrize("marked_meanwhile", [False, True])
def test_results_that_replace_others_in_their_folder_are_shown(project, pixels, marked_meanwhile):
    # As after another threshold, which was written into the folder of the run itself.
    (pixels / "vectorize_manifest.json").write_text((pixels / "manifest.json").read_text())
    add_run_folder(project, str(pixels), "Change")
    if marked_meanwhile:
        (group,) = detection_groups(project)
        draw(group.layer("polygons"), DRAWN)
    else:
        project.clear()
    (pixels / "change.gpkg").unlink()
    write_polygons(pixels / "change.gpkg", ((1, 2, 3, 4), (5, 6, 7, 8)), None)
    manifest = json.loads((pixels / "manifest.json").read_text())
    manifest["began"] = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    (pixels / "manifest.json").write_text(json.dumps(manifest))
    group = DetectionGroup(add_run_folder(project, str(pixels), "Change"))
    assert group.layer("polygons").extent() == QgsRectangle(1, -8, 7, -2)


@pytest.fixture(params=["moved", "copied"])
def take_along(project, tmp_path, request):
    """A function that saves the project and opens it in another folder, to which all beside it was taken."""

    def take():
        assert project.write(str(tmp_path / "here" / "town.qgz"))
        project.clear()
        take = shutil.move if request.param == "moved" else shutil.copytree
        take(str(tmp_path / "here"), str(tmp_path / "there"))
        assert project.read(str(tmp_path / "there" / "town.qgz"))
        return tmp_path / "there"

    return take


@pytest.mark.parametrize("crs", [32633, None])
def test_what_a_project_takes_along_is_found_and_written_there(project, tmp_path, take_along, crs):
    boxes = ((500002, 4999990, 500006, 4999995),) if crs else ((4, 6, 9, 12),)
    run = write_run(tmp_path / "here" / "Changen2 runs" / "run", crs, boxes)
    other = write_run(tmp_path / "here" / "Changen2 runs" / "run" / "threshold 0.70", crs, boxes)
    add_detection_group(project, run, "Change")
    (group,) = detection_groups(project)
    group.replace({role: other[role] for role in ("change", "polygons")}, 0.7)
    there = take_along()
    (group,) = detection_groups(project)
    assert group.folder == str(there / "Changen2 runs" / "run")
    assert group.set_review(next(group.layer("polygons").getFeatures()).id(), "confirmed")
    for folder, state in ((there, "confirmed"), (tmp_path / "here", "unreviewed")):
        path = folder / "Changen2 runs" / "run" / "threshold 0.70" / "change.gpkg"
        if path.exists():
            (place,) = QgsVectorLayer(f"{path}|layername=change", "places", "ogr").getFeatures()
            assert place["review"] == state


@pytest.mark.parametrize("shown", [".", "threshold 0.70"])
def test_a_run_folder_with_another_name_is_found_where_a_layer_was_found_again(project, pixels, shown):
    write_run(pixels / "threshold 0.70", crs=None, boxes=((4, 6, 9, 12),))
    add_run_folder(project, str(pixels), "Change")
    renamed = pixels.rename(pixels.with_name("the north"))
    (group,) = detection_groups(project)
    assert group.folder == str(pixels)  # no layer tells, yet
    layer = group.layer("polygons")
    layer.setDataSource(f"{renamed / shown / 'change.gpkg'}|layername=change", layer.name(), "ogr")
    assert group.folder == str(renamed)


def test_another_run_that_a_file_of_lies_in_is_not_taken_for_the_renamed_one(project, pixels):
    add_run_folder(project, str(pixels), "Change")
    other = shutil.copytree(pixels, pixels.with_name("other"))
    (other / "town.tif").touch()
    pixels.rename(pixels.with_name("the north"))
    (group,) = detection_groups(project)
    layer = group.layer("change")
    layer.setDataSource(str(other / "town.tif"), layer.name(), "gdal")
    assert group.folder == str(pixels)


@pytest.mark.parametrize("in_project", [True, False])
def test_the_images_that_were_taken_along_are_found(project, tmp_path, take_along, in_project):
    folder = tmp_path / "here" / "Changen2 runs" / "run"
    run = write_run(folder)
    values = np.full((HEIGHT, WIDTH), 100, np.uint8)
    inputs = {}
    for date in ("before", "after"):
        path = write_raster(tmp_path / "here" / f"{date}.tif", values, 0)
        inputs[date] = {"path": path, "bands": [1, 1, 1], "stretch": {"low": [0], "high": [255]}}
        if in_project:
            project.addMapLayer(QgsRasterLayer(path, date, "gdal"))
    manifest = {"job": "detect", "inputs": inputs, "parameters": {"out_dir": str(folder)}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    add_detection_group(project, run, "Change")
    there = take_along()
    (group,) = detection_groups(project)
    images = group.images()
    assert [image.source() for image in images] == [str(there / "before.tif"), str(there / "after.tif")]
    assert [image in project.mapLayers().values() for image in images] == [in_project] * 2


@pytest.mark.parametrize("into_the_original", [True, False])
def test_a_copy_of_a_group_is_a_result_of_its_own(project, run, tmp_path, into_the_original):
    node = add_detection_group(project, run, "Change")
    definition = str(tmp_path / "change.qlr")
    assert QgsLayerDefinition.exportLayerDefinition(definition, [node])[0]
    place = node if into_the_original else project.layerTreeRoot()  # where QGIS pastes what is copied and selected
    assert QgsLayerDefinition.loadLayerDefinition(definition, project, place)[0]
    copy = next(child for child in place.children() if child.customProperty(FOLDER) and child != node)
    if not into_the_original:  # to the top, as it comes from a newer QGIS
        parent = copy.parent()
        parent.insertChildNode(0, copy.clone())
        parent.removeChildNode(copy)
        copy = parent.children()[0]
    original = DetectionGroup(node)
    identity = original.id
    groups = {group.id: group for group in detection_groups(project)}
    assert len(groups) == 2 and groups[identity].node == node
    (other,) = (group for group in groups.values() if group.id != identity)
    assert other.node == copy and other.layer("polygons").id() != original.layer("polygons").id()
    assert find_group(project, other.id).node == copy
    project.removeMapLayer(original.layer("polygons").id())
    assert original.layer("polygons") is None and other.layer("polygons") is not None
    assert {group.id for group in detection_groups(project)} == set(groups)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.0001, -0.1)])
def test_an_image_looks_the_same_whether_its_values_are_scaled_or_not(tmp_path, scale, offset):
    values = np.tile(np.linspace(0, 250, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
    path = write_raster(tmp_path / "image.tif", values, 255)
    dataset = gdal.Open(path, gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(scale)
    dataset.GetRasterBand(1).SetOffset(offset)
    dataset = None
    image = QgsRasterLayer(path, "image", "gdal")
    style_as_seen(image, {"bands": [1, 1, 1], "stretch": {"low": [50], "high": [200]}})
    block = image.renderer().block(1, image.extent(), WIDTH, HEIGHT)
    grey = np.array([block.color(0, column) & 255 for column in range(WIDTH)])
    np.testing.assert_allclose(grey, np.clip((values[0] - 50.0) / 150, 0, 1) * 255, atol=1.01)


@pytest.mark.parametrize(
    ("bands", "low", "high"),
    [((4, 3, 1), [1, 2, 3], [40, 50, 60]), ((2, 2, 3), [1, 2], [40, 50]), ((1, 4, 1), [1, 2], [40, 50])],
)
def test_each_channel_has_the_stretch_of_its_own_band(tmp_path, bands, low, high):
    path = write_raster(tmp_path / "grey.tif", np.ones((HEIGHT, WIDTH), np.uint8), 0)
    gdal.Translate(str(tmp_path / "image.tif"), path, bandList=[1] * 4)
    image = QgsRasterLayer(str(tmp_path / "image.tif"), "image", "gdal")
    style_as_seen(image, {"bands": list(bands), "stretch": {"low": low, "high": high}})  # one for each distinct band
    drawn = image.renderer()
    assert (drawn.redBand(), drawn.greenBand(), drawn.blueBand()) == bands
    of_band = dict(zip(dict.fromkeys(bands), zip(low, high, strict=True), strict=True))
    stretches = drawn.redContrastEnhancement(), drawn.greenContrastEnhancement(), drawn.blueContrastEnhancement()
    ends = [(each.minimumValue(), each.maximumValue()) for each in stretches]
    assert ends == [of_band[band] for band in bands]


def test_area_label_reads_as_a_person_writes_it(run):
    layer = QgsVectorLayer(run["polygons"] + "|layername=change", "p", "ogr")
    style_detection_layer(layer, "polygons")
    from qgis.core import QgsExpression, QgsExpressionContext, QgsExpressionContextUtils

    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(next(layer.getFeatures()))
    assert QgsExpression(layer.displayExpression()).evaluate(context) == "20 m²"
