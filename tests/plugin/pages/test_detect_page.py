"""Apply on the Detect page: another threshold on a finished run, through the real worker."""

import json

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import QgsProject

from changen2_qgis.pages.detect_page import DetectPage
from changen2_qgis.results import add_run_folder

PATIENCE_MS = 120_000

SMALL, LARGE, CORE = 4, 16, 1
"""Pixels of the places below; from 0.7 up the core of the large one is left of it."""


@pytest.fixture
def write_run(tmp_path, write_raster, real_backend):
    """A function that writes a detection at threshold 0.5, of pixels of 0.5 m, with two changed places."""

    def write(min_area=0.0, crs=32633):
        values = np.ones((1, 20, 30), np.uint8)
        values[0, 2:6, 3:7] = 1 + round(0.6 * 254)
        values[0, 3, 4] = values[0, 10:12, 20:22] = 1 + round(0.9 * 254)
        folder = tmp_path / "run"
        folder.mkdir()
        probability = write_raster(folder / "change_probability.tif", values, crs, nodata=0)
        request = {"probability": probability, "out_dir": str(folder), "threshold": 0.5, "min_area": min_area}
        made = real_backend.request("vectorize", request)
        (folder / "vectorize_manifest.json").unlink()
        manifest = {
            "job": "detect",
            "parameters": {"min_area": min_area},
            "summary": made["summary"],
            "outputs": {"change_probability": probability, **made["outputs"]},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf8")
        return folder

    return write


@pytest.fixture
def page(provider, real_backend, make_iface, settings):
    iface = make_iface()
    page = DetectPage(iface, real_backend, iface.mainWindow())
    yield page
    page.shut_down()


@pytest.fixture
def clock():
    """A function that sets the time that GeoPackages are changed at; it stands still after that."""
    yield lambda when: gdal.SetConfigOption("OGR_CURRENT_DATE", f"2026-11-29T{when}:00.000Z")
    gdal.SetConfigOption("OGR_CURRENT_DATE", None)


def show(page, folder):
    """Put the run on the map, as *Runs* does."""
    add_run_folder(QgsProject.instance(), str(folder), "Change")
    page.results.refresh(newest=True)
    return page.results.current()


def apply(page, threshold, qtbot):
    """Move the threshold, press the button; what is said then."""
    page.results.threshold.number.setValue(threshold)
    page.results.threshold.apply.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    return page._iface.messageBar().currentItem().text()


def marks(group):
    """The review of each place, by its number of pixels."""
    return {place["area_px"]: place["review"] for place in group.layer("polygons").getFeatures()}


def place_of(group, pixels):
    return next(place.id() for place in group.layer("polygons").getFeatures() if place["area_px"] == pixels)


def mark(group, pixels, state):
    assert group.set_review(place_of(group, pixels), state)


def test_nothing_is_applied_while_the_places_are_edited(page, write_run, qtbot):
    group = show(page, write_run())
    places = group.layer("polygons")
    source = places.source()
    places.startEditing()
    mark(group, LARGE, "confirmed")
    told = apply(page, 0.7, qtbot)
    assert "“Changed places” is being edited. Save or discard its edits" in told
    assert places.source() == source and group.threshold == 0.5
    assert places.commitChanges()
    apply(page, 0.7, qtbot)
    assert marks(group) == {SMALL: "unreviewed", CORE: "unreviewed"}


def test_editing_that_began_while_the_places_were_made_anew_is_kept(page, write_run, qtbot):
    group = show(page, write_run())
    places = group.layer("polygons")
    source = places.source()
    page.results.threshold.number.setValue(0.7)
    page.results.threshold.apply.click()
    assert page.bar.running
    places.startEditing()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    assert "is being edited" in page._iface.messageBar().currentItem().text()
    assert places.source() == source and group.threshold == 0.5
    places.rollBack()


def test_marks_come_back_with_their_threshold_and_the_newest_wins(page, write_run, clock, qtbot):
    clock("10:00")
    group = show(page, write_run())
    clock("11:00")
    mark(group, LARGE, "confirmed")
    mark(group, SMALL, "confirmed")
    told = apply(page, 0.7, qtbot)
    assert told.endswith("Review marks: 1 carried over, 1 without a place of this shape (kept at other thresholds).")
    assert marks(group) == {SMALL: "confirmed", CORE: "unreviewed"}
    clock("12:00")
    mark(group, SMALL, "rejected")
    mark(group, CORE, "rejected")
    apply(page, 0.5, qtbot)
    assert marks(group) == {SMALL: "rejected", LARGE: "confirmed"}
    apply(page, 0.7, qtbot)
    assert marks(group) == {SMALL: "rejected", CORE: "rejected"}


def test_a_run_that_is_added_again_has_the_newest_marks_of_all_its_thresholds(page, write_run, clock, qtbot):
    folder = write_run()
    group = show(page, folder)
    clock("11:00")
    mark(group, SMALL, "confirmed")
    apply(page, 0.7, qtbot)
    clock("12:00")
    mark(group, SMALL, "rejected")
    mark(group, CORE, "confirmed")
    QgsProject.instance().clear()
    group = show(page, folder)
    assert marks(group) == {SMALL: "rejected", LARGE: "unreviewed"}
    clock("13:00")
    mark(group, SMALL, "confirmed")
    QgsProject.instance().clear()
    group = show(page, folder)
    assert marks(group) == {SMALL: "confirmed", LARGE: "unreviewed"}
    apply(page, 0.7, qtbot)
    assert marks(group) == {SMALL: "confirmed", CORE: "confirmed"}


def test_a_threshold_that_was_applied_before_is_shown_again_with_what_was_drawn(page, write_run, qtbot):
    folder = write_run()
    group = show(page, folder)
    places = group.layer("polygons")
    places.startEditing()
    assert places.deleteFeature(place_of(group, LARGE))
    assert places.commitChanges()
    apply(page, 0.7, qtbot)
    told = apply(page, 0.5, qtbot)
    assert told == "Change: 1 changed place, 1\u00a0m² from probability 0.50 up."
    assert marks(group) == {SMALL: "unreviewed"}
    apply(page, 0.7, qtbot)
    assert [path.name for path in folder.glob("threshold*")] == ["threshold 0.70"]


def test_the_smallest_area_is_that_of_the_run(page, write_run, qtbot):
    group = show(page, write_run(min_area=0.5))
    page.form.min_area.setValue(2)
    apply(page, 0.7, qtbot)
    assert marks(group) == {SMALL: "unreviewed"}


def test_marks_on_a_raster_without_crs_are_carried_to_the_copy_that_is_shown(page, write_run, qtbot):
    group = show(page, write_run(crs=None))
    mark(group, SMALL, "confirmed")
    mark(group, LARGE, "rejected")
    apply(page, 0.7, qtbot)
    assert marks(group) == {SMALL: "confirmed", CORE: "unreviewed"}
    apply(page, 0.5, qtbot)
    assert marks(group) == {SMALL: "confirmed", LARGE: "rejected"}
    assert group.layer("change_probability").extent().contains(group.layer("polygons").extent())


def test_a_result_that_goes_during_apply_is_told_with_the_folder_of_its_new_files(page, write_run, qtbot):
    folder = write_run()
    show(page, folder)
    page.results.threshold.number.setValue(0.7)
    page.results.threshold.apply.click()
    QgsProject.instance().layerTreeRoot().removeAllChildren()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=PATIENCE_MS)
    said = page._iface.messageBar().currentItem().text()
    assert said == f"The result is no longer in the project. Its new files are in {folder / 'threshold 0.70'}."
