"""Any polygon layer as change events: which field says what, and the file that the backend gets."""

import json
import os
import subprocess

import numpy as np
import pytest
from qgis.core import QgsCoordinateTransform, QgsFeature, QgsGeometry, QgsProject, QgsRasterLayer, QgsVectorLayer

from changen2_qgis.errors import InputError
from changen2_qgis.events.export import take_events
from changen2_qgis.events.field_mapping import EventMapping, FieldMapping, FieldOrValue, export_events, usual_mapping
from changen2_qgis.events.layer import add_event, create_event_layer

CLASSES = [{"index": 0, "name": "background", "color": "#bebebe"}, {"index": 4, "name": "building", "color": "#cc3c34"}]
SQUARE = "Polygon ((500001 4999990, 500009 4999990, 500009 4999999, 500001 4999999, 500001 4999990))"


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def image(project, write_raster, tmp_path):
    return project.addMapLayer(QgsRasterLayer(write_raster(tmp_path / "a.tif", np.zeros((3, 40, 40), np.uint8)), "a"))


@pytest.fixture
def plans(project):
    """A polygon layer of somebody else's, with fields of its own."""
    layer = QgsVectorLayer(
        "Polygon?crs=EPSG:32633&field=what:string&field=landuse:string&field=year:integer", "plans", "memory"
    )
    add(layer, ["Create", "building", 2])
    add(layer, ["remove", None, None])
    return project.addMapLayer(layer)


@pytest.fixture
def widget(project, qtbot):
    widget = FieldMapping()
    qtbot.addWidget(widget)
    widget.set_classes(CLASSES)
    return widget


def add(layer, attributes, wkt=SQUARE):
    feature = QgsFeature(layer.fields())
    feature.setAttributes(attributes)
    feature.setGeometry(QgsGeometry.fromWkt(wkt))
    layer.dataProvider().addFeature(feature)


def choose(combo, source):
    combo.setCurrentIndex([combo.itemData(index) for index in range(combo.count())].index(source))


def written(path):
    return list(QgsVectorLayer(f"{path}|layername=change_events", "out", "ogr").getFeatures())


MAPPED = EventMapping(FieldOrValue("what"), FieldOrValue("landuse"), FieldOrValue("year"))


def test_the_fields_of_a_layer_are_offered_after_fixed_values(widget, plans):
    widget.set_layer(plans)
    texts = [widget.event.itemText(index) for index in range(widget.event.count())]
    assert texts[:3] == ["Create", "Remove", "Edit"]
    assert texts[-3:] == ["from field what", "from field landuse", "from field year"]
    choose(widget.event, FieldOrValue("what"))
    choose(widget.to_class, FieldOrValue("landuse"))
    choose(widget.step, FieldOrValue("year"))
    assert widget.mapping() == MAPPED
    assert widget.problem() == ""


def test_all_polygons_are_built_at_once_unless_said_otherwise(widget, plans):
    widget.set_layer(plans)
    created, building, first = FieldOrValue(value="create"), FieldOrValue(value="building"), FieldOrValue(value="1")
    assert widget.mapping() == EventMapping(created, building, first)


def test_fields_with_the_backends_names_are_taken(widget, project):
    layer = project.addMapLayer(
        QgsVectorLayer("Polygon?crs=EPSG:32633&field=EVENT:string&field=To_Class:int&field=step:int", "e", "memory")
    )
    widget.set_layer(layer)
    expected = EventMapping(FieldOrValue("EVENT"), FieldOrValue("To_Class"), FieldOrValue("step"))
    assert widget.mapping() == expected == usual_mapping(layer.fields())


def test_other_classes_leave_the_other_choices(widget, plans):
    widget.set_layer(plans)
    choose(widget.event, FieldOrValue("what"))
    choose(widget.step, FieldOrValue(value="3"))
    widget.set_classes([{"index": 2, "name": "road", "color": "#6e6e78"}])
    expected = (FieldOrValue("what"), FieldOrValue(value="road"), FieldOrValue(value="3"))
    assert widget.mapping() == EventMapping(*expected)


def test_what_is_missing_is_said(widget, plans, project):
    assert "Choose the layer" in widget.problem()
    empty = project.addMapLayer(QgsVectorLayer("Polygon?crs=EPSG:32633", "empty", "memory"))
    widget.set_layer(empty)
    assert "“empty” has no polygons" in widget.problem()
    widget.set_layer(plans)
    choose(widget.event, FieldOrValue("landuse"))
    assert "“building” where create, remove or edit is meant" in widget.problem()


def test_edits_and_removal_of_the_layer_are_followed(widget, plans, project, qtbot):
    widget.set_layer(plans)
    plans.startEditing()
    with qtbot.waitSignal(widget.changed):
        plans.deleteFeature(next(plans.getFeatures()).id())
    with qtbot.waitSignal(widget.changed):
        project.removeMapLayer(plans)
    assert widget.layer() is None and "Choose the layer" in widget.problem()


@pytest.fixture
def reads(plans, monkeypatch):
    """How often the plans were read through, as a list that grows."""
    found, read = [], plans.getFeatures
    monkeypatch.setattr(plans, "getFeatures", lambda *request: found.append(1) or read(*request))
    return found


def test_a_layer_is_read_once_for_each_way_to_read_it(widget, plans, reads):
    widget.set_layer(plans)
    choose(widget.event, FieldOrValue("what"))
    reads.clear()
    assert [widget.problem() for _ in range(3)] == [""] * 3
    choose(widget.step, FieldOrValue(value="3"))
    assert widget.problem() == "" and len(reads) == 1
    choose(widget.event, FieldOrValue("landuse"))
    assert "“building”" in widget.problem()
    choose(widget.event, FieldOrValue("what"))
    assert widget.problem() == ""


def test_a_layer_is_read_anew_when_it_has_changed(widget, plans):
    widget.set_layer(plans)
    choose(widget.event, FieldOrValue("what"))
    assert widget.problem() == ""
    plans.startEditing()
    first = next(plans.getFeatures()).id()
    plans.changeAttributeValue(first, plans.fields().indexOf("what"), "burn")
    assert "says “burn”" in widget.problem()
    plans.rollBack()
    assert widget.problem() == ""
    add(plans, ["burn", None, None])  # by somebody else, whose work is seen with the next reload
    plans.reload()
    assert "says “burn”" in widget.problem()
    plans.setSubsetString("what != 'burn'")
    assert widget.problem() == ""


def test_many_edits_at_once_are_told_once(widget, plans, qtbot):
    widget.set_layer(plans)
    told = []
    widget.changed.connect(lambda: told.append(1))
    plans.startEditing()
    plans.deleteFeatures([feature.id() for feature in plans.getFeatures()])
    qtbot.waitUntil(lambda: bool(told))
    assert len(told) == 1


def test_mapped_fields_are_written_in_the_backends_form(plans, image, tmp_path):
    export_events(plans, MAPPED, tmp_path / "new" / "events.gpkg", image)
    first, second = written(tmp_path / "new" / "events.gpkg")
    assert (first["event"], first["to_class"], first["step"]) == ("create", "building", 2)
    assert (second["event"], second["step"]) == ("remove", 1)
    assert not second["to_class"]


def test_unsaved_edits_are_written_and_the_layer_stays_as_it_is(project, image, tmp_path):
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    add_event(layer, QgsGeometry.fromWkt(SQUARE), "create", "building", 1)
    export_events(layer, usual_mapping(layer.fields()), tmp_path / "out.gpkg", image)
    (event,) = written(tmp_path / "out.gpkg")
    assert event.geometry().area() == pytest.approx(72)
    assert layer.isModified() and layer.undoStack().count() == 1


def test_on_an_image_without_crs_polygons_become_columns_and_rows(project, write_raster, tmp_path):
    path = write_raster(tmp_path / "plain.tif", np.zeros((3, 40, 60), np.uint8), crs=None)
    image = project.addMapLayer(QgsRasterLayer(path, "plain"))
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    add_event(layer, QgsGeometry.fromWkt("Polygon ((10 -5, 20 -5, 20 -8, 10 -8, 10 -5))"), "create", "building", 1)
    export_events(layer, usual_mapping(layer.fields()), tmp_path / "out.gpkg", image)
    (event,) = written(tmp_path / "out.gpkg")
    extent = event.geometry().boundingBox()
    assert [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()] == [10, 5, 20, 8]


@pytest.mark.parametrize(
    "mapping, code",
    [
        (EventMapping(FieldOrValue("landuse"), FieldOrValue(), FieldOrValue(value="1")), "bad_event"),
        (EventMapping(FieldOrValue("what"), FieldOrValue(), FieldOrValue("landuse")), "bad_step"),
    ],
)
def test_a_field_that_holds_something_else_is_refused(plans, image, tmp_path, mapping, code):
    with pytest.raises(InputError) as caught:
        export_events(plans, mapping, tmp_path / "out.gpkg", image)
    assert caught.value.code == code and caught.value.hint
    assert not (tmp_path / "out.gpkg").exists()


def test_a_layer_without_polygons_is_refused(project, image, tmp_path):
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    with pytest.raises(InputError, match="no change events"):
        export_events(layer, usual_mapping(layer.fields()), tmp_path / "out.gpkg", image)


def test_events_of_another_layer_are_taken_in_one_undoable_step(project, plans, image, tmp_path):
    mercator = project.addMapLayer(
        QgsVectorLayer("Polygon?crs=EPSG:3857&field=event:string&field=to_class:string&field=step:int", "m", "memory")
    )
    outline = QgsGeometry.fromWkt(SQUARE)
    outline.transform(QgsCoordinateTransform(image.crs(), mercator.crs(), project))
    add(mercator, ["edit", "water", 3], outline.asWkt())
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    assert take_events(layer, mercator) == 1
    assert take_events(layer, plans, MAPPED) == 2
    rows = [(event["event"], event["to_class"] or None, event["step"]) for event in layer.getFeatures()]
    assert sorted(rows, key=str) == [("create", "building", 2), ("edit", "water", 3), ("remove", None, 1)]
    for event in layer.getFeatures():
        assert event.geometry().area() == pytest.approx(72, rel=1e-3)
    layer.undoStack().undo()
    assert layer.featureCount() == 1
    layer.undoStack().undo()
    assert layer.featureCount() == 0


def test_an_event_that_cannot_be_read_takes_nothing(project, plans, image, tmp_path):
    layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
    wrong = EventMapping(FieldOrValue("landuse"), FieldOrValue(), FieldOrValue(value="1"))
    with pytest.raises(InputError, match="as its event"):
        take_events(layer, plans, wrong)
    assert layer.featureCount() == 0 and not layer.isEditable()


READ = """
import json, sys
import rasterio
from changen2.gpcm.classes import AERIAL
from changen2.jobs.synthesis.events import read_events
from changen2.raster.grid import Grid
found = []
for image, events in zip(sys.argv[1::2], sys.argv[2::2]):
    with rasterio.open(image) as dataset:
        drawn, notes = read_events(events, Grid.of(dataset), AERIAL)
    found.append([[(d.kind, d.to_class, d.step, d.geometry.bounds) for d in drawn], notes])
print(json.dumps(found))
"""


@pytest.mark.filterwarnings("ignore")
def test_the_backend_reads_what_was_drawn(real_backend, project, write_raster, tmp_path):
    """Its own reader, in its own interpreter, finds the pixels drawn on a raster with and one without CRS."""
    arguments = []
    for crs, square in ((32633, SQUARE), (None, "Polygon ((2 -2, 18 -2, 18 -20, 2 -20, 2 -2))")):
        path = write_raster(tmp_path / f"{crs}.tif", np.zeros((3, 40, 40), np.uint8), crs=crs)
        image = project.addMapLayer(QgsRasterLayer(path, str(crs)))
        layer = create_event_layer(project, image, CLASSES, tmp_path / "events")
        add_event(layer, QgsGeometry.fromWkt(square), "create", "building", 2)
        events = tmp_path / f"events_{crs}.gpkg"
        export_events(layer, usual_mapping(layer.fields()), events, image)
        arguments += [path, str(events)]
    answer = subprocess.run(
        [os.environ["CHANGEN2_PYTHON"], "-c", READ, *arguments], capture_output=True, text=True, check=True
    )
    for drawn, notes in json.loads(answer.stdout):
        assert drawn == [["create", 4, 2, [2, 2, 18, 20]]]
        assert notes == []
