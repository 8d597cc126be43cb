"""The layer of change events: its file, form, style and what marks it."""

import numpy as np
import pytest
from qgis.core import (
    NULL,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRenderContext,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)

from changen2_qgis.errors import InputError
from changen2_qgis.events.layer import (
    add_event,
    create_event_layer,
    find_event_layers,
    is_event_layer,
    set_classes,
    sound_polygon,
    usual_class,
)
from changen2_qgis.events.style import EVENTS

CLASSES = [
    {"index": 0, "name": "background", "color": "#bebebe"},
    {"index": 1, "name": "water", "color": "#4285c8"},
    {"index": 4, "name": "building", "color": "#cc3c34"},
]
SQUARE = QgsGeometry.fromWkt("Polygon ((500001 4999990, 500009 4999990, 500009 4999999, 500001 4999999))")


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def image(project, write_raster, tmp_path):
    return project.addMapLayer(QgsRasterLayer(write_raster(tmp_path / "a.tif", np.zeros((3, 40, 40), np.uint8)), "a"))


@pytest.fixture
def layer(project, image, tmp_path):
    return create_event_layer(project, image, CLASSES, tmp_path / "events")


def editor(layer, name):
    return layer.editorWidgetSetup(layer.fields().indexFromName(name))


def test_the_layer_is_an_empty_geopackage_in_the_crs_of_the_image(layer, image, project, tmp_path):
    assert layer.isValid() and layer.featureCount() == 0
    assert layer.source() == f"{tmp_path}/events/change_events.gpkg|layername=change_events"
    assert layer.crs() == image.crs()
    assert [field.name() for field in layer.fields()] == ["fid", "event", "to_class", "step"]
    assert project.layerTreeRoot().layerOrder()[0] is layer


def test_a_file_that_is_there_is_not_overwritten(layer, project, image, tmp_path):
    add_event(layer, SQUARE, "create", "building", 1)
    layer.commitChanges()
    second = create_event_layer(project, image, CLASSES, tmp_path / "events")
    assert second.source() != layer.source() and second.featureCount() == 0
    assert layer.featureCount() == 1


def test_a_folder_that_cannot_be_written_is_said(project, image, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written") as caught:
        create_event_layer(project, image, CLASSES, tmp_path / "file")
    assert caught.value.code == "bad_out_dir" and caught.value.hint


def test_the_newest_layer_of_an_image_is_found_first(layer, project, image, write_raster, tmp_path):
    second = create_event_layer(project, image, CLASSES, tmp_path / "events")
    other = QgsRasterLayer(write_raster(tmp_path / "b.tif", np.zeros((1, 9, 9), np.uint8)), "b")
    project.addMapLayer(other)
    of_other = create_event_layer(project, other, CLASSES, tmp_path / "events")
    assert find_event_layers(project) == [of_other, second, layer]
    assert find_event_layers(project, image) == [second, layer]
    plain = project.addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:32633", "parcels", "memory"))
    assert is_event_layer(layer) and not is_event_layer(plain) and not is_event_layer(image)


def test_the_layer_is_found_again_when_the_project_is_reopened(layer, project, image, tmp_path):
    path, image_id = str(tmp_path / "work.qgz"), image.id()
    assert project.write(path)
    project.clear()
    assert project.read(path)
    (found,) = find_event_layers(project, project.mapLayer(image_id))
    assert [field.name() for field in found.fields()][1:] == ["event", "to_class", "step"]
    assert editor(found, "event").type() == "ValueMap"


def test_an_image_without_crs_stays_without_when_reopened(project, write_raster, tmp_path):
    path = write_raster(tmp_path / "plain.tif", np.zeros((3, 40, 40), np.uint8), crs=None)
    image = project.addMapLayer(QgsRasterLayer(path, "plain"))
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    assert not layer.crs().isValid()
    assert project.write(str(tmp_path / "work.qgz")) and project.read(str(tmp_path / "work.qgz"))
    (found,) = find_event_layers(project)
    assert not found.crs().isValid() or not found.crs().isGeographic()
    assert found.isValid()


def test_the_form_offers_events_and_classes_by_name(layer):
    offered = editor(layer, "event").config()["map"]
    assert [next(iter(entry.values())) for entry in offered] == ["create", "remove", "edit"]
    assert editor(layer, "to_class").config()["map"][2] == {"building": "building"}
    assert editor(layer, "step").config()["Min"] == 1
    set_classes(layer, CLASSES[:2])
    assert len(editor(layer, "to_class").config()["map"]) == 2


def test_a_polygon_drawn_by_qgis_itself_has_sensible_values(layer):
    feature = QgsVectorLayerUtils.createFeature(layer, SQUARE, {}, layer.createExpressionContext())
    assert (feature["event"], feature["to_class"], feature["step"]) == ("create", "building", 1)


@pytest.mark.parametrize(
    "values, field",
    [({"step": 0}, "step"), ({"to_class": NULL}, "to_class"), ({"event": NULL}, "event")],
)
def test_the_form_refuses_what_cannot_be_run(layer, values, field):
    attributes = {layer.fields().indexFromName(name): value for name, value in values.items()}
    feature = QgsVectorLayerUtils.createFeature(layer, SQUARE, {}, layer.createExpressionContext())
    index = layer.fields().indexFromName(field)
    assert QgsVectorLayerUtils.validateAttribute(layer, feature, index)[0]
    for at, value in attributes.items():
        feature.setAttribute(at, value)
    assert not QgsVectorLayerUtils.validateAttribute(layer, feature, index)[0]


def test_each_event_has_a_symbol_of_its_own_and_the_step_as_label(layer):
    looks = set()
    for value, *_ in EVENTS:
        feature = QgsFeature(layer.fields())
        feature["event"] = value
        renderer, context = layer.renderer().clone(), QgsRenderContext()
        renderer.startRender(context, layer.fields())
        symbol = renderer.symbolForFeature(feature, context)
        last = symbol.symbolLayer(symbol.symbolLayerCount() - 1)
        looks.add((last.strokeColor().name(), last.strokeStyle(), symbol.symbolLayerCount()))
        renderer.stopRender(context)
    assert len(looks) == 3
    assert layer.labelsEnabled() and '"step"' in layer.labeling().settings().fieldName


@pytest.mark.parametrize("event, expected", [("create", "building"), ("edit", "building"), ("remove", "background")])
def test_the_usual_class_of_an_event(event, expected):
    assert usual_class(CLASSES, event) == expected


def test_the_usual_class_without_a_building_or_a_background():
    assert usual_class(CLASSES[:2], "create") == "water"
    assert usual_class(CLASSES[1:], "remove") is None
    assert usual_class([], "create") is None


def test_a_hole_and_parts_are_kept_and_a_bow_tie_becomes_two_triangles():
    ring = QgsGeometry.fromWkt("Polygon ((0 0, 9 0, 9 9, 0 9, 0 0),(3 3, 6 3, 6 6, 3 6, 3 3))")
    sound, note = sound_polygon(ring)
    assert sound.area() == 72 and note == ""
    tie, note = sound_polygon(QgsGeometry.fromWkt("Polygon ((0 0, 4 4, 4 0, 0 4, 0 0))"))
    assert tie.isGeosValid() and tie.isMultipart() and tie.area() == 8
    assert "repaired" in note


@pytest.mark.parametrize("kind", ["Z", "M", "ZM"])
def test_a_polygon_with_heights_or_measures_is_saved_beside_others(layer, kind):
    extra = " 1" * len(kind)
    corners = ", ".join(f"{x} {y}{extra}" for x, y in ((1, 1), (9, 1), (9, 9), (1, 1)))
    add_event(layer, QgsGeometry.fromWkt(f"Polygon{kind} (({corners}))"), "create", "building", 1)
    add_event(layer, SQUARE, "create", "building", 1)
    assert layer.commitChanges(), layer.commitErrors()
    assert layer.featureCount() == 2


def test_an_event_without_class_has_none_whatever_the_form_offers(layer):
    add_event(layer, SQUARE, "remove", None, 2)
    (event,) = layer.getFeatures()
    assert (event["event"], event["to_class"] or None, event["step"]) == ("remove", None, 2)
    assert layer.commitChanges()
    (event,) = layer.getFeatures()
    assert not event["to_class"] and event["fid"] == 1


def test_an_event_in_a_layer_that_cannot_be_edited_is_refused(layer):
    layer.setReadOnly(True)
    with pytest.raises(InputError, match="cannot be edited"):
        add_event(layer, SQUARE, "create", "building", 1)
    assert layer.featureCount() == 0
