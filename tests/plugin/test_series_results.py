"""A synthesized series in the project: its group, its look, its time, and what the canvas draws at each step."""

import json
import zipfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal
from qgis.core import (
    QgsContrastEnhancement,
    QgsCubicRasterResampler,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsTemporalNavigationObject,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QImage

from changen2_qgis.layer_actions import run_folder_of
from changen2_qgis.results import detection_groups
from changen2_qgis.run_folders import INPUTS_FOLDER
from changen2_qgis.series_results import add_series_group, describe_series, series_groups, timeline_of, write_dates
from changen2_qgis.temporal import SeriesPlayer, Timeline

START = datetime(2021, 3, 1)
HALF_YEAR = (6, "months")


@pytest.fixture
def project(qgis_new_project):
    return QgsProject.instance()


@pytest.fixture
def run(tmp_path, write_series):
    return write_series(tmp_path / "run")


@pytest.fixture
def canvas(project, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.setTemporalController(QgsTemporalNavigationObject(canvas))
    return canvas


def series(project):
    (group,) = series_groups(project)
    return group


def raster(path, name):
    return QgsRasterLayer(path, name, "gdal", QgsRasterLayer.LayerOptions(False))


def pixels(settings):
    """What the settings draw, [rows, columns, bgra]."""
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage().convertToFormat(QImage.Format.Format_ARGB32)
    memory = image.constBits()
    memory.setsize(image.sizeInBytes())
    return np.frombuffer(memory, np.uint8).reshape(image.height(), image.width(), 4).copy()


def settings_of(canvas, layers, width=80, height=60):
    """The canvas's settings, with a pixel of the picture for each of the raster."""
    settings = QgsMapSettings(canvas.mapSettings())
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[0].crs())
    settings.setOutputSize(QSize(width, height))
    settings.setExtent(layers[0].extent())
    return settings


def test_the_group_holds_events_masks_images_and_labels(project, run):
    node = add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    assert project.layerTreeRoot().children()[0] == node
    assert node.name() == "Synthesis: 3 steps, 3 created"
    assert [child.name() for child in node.children()] == ["Events", "Change masks", "Images", "Labels"]
    names = [[tree.name() for tree in part.findLayers()] for part in node.children()[1:]]
    assert names[0] == ["Change 2 to 3", "Change 1 to 2", "Change 0 to 1"]
    assert names[1] == [
        "Image 3 (2022-09-01)",
        "Image 2 (2022-03-01)",
        "Image 1 (2021-09-01)",
        "Image 0 (2021-03-01)",
    ]
    assert names[2][0] == "Labels 3 (2022-09-01)"
    assert [child.itemVisibilityChecked() for child in node.children()] == [False, False, True, False]


def test_step_10_comes_after_step_2(project, tmp_path, write_series):
    run = write_series(tmp_path / "run", steps=10, size=(30, 220))
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()), sort_keys=True))  # image_t10 before image_t2
    node = add_series_group(project, run, "Synthesis")
    names = [tree.name() for tree in node.findGroup("Images").findLayers()]
    assert [name.split()[1] for name in names] == [str(step) for step in range(10, -1, -1)]


def test_seen_from_afar_the_input_without_overviews_looks_like_the_results(project, tmp_path, write_series, qtbot):
    folder = write_series(tmp_path / "run", steps=1, size=(480, 640))
    town, step = str(tmp_path / "town.tif"), str(tmp_path / "run" / "image_t1.tif")
    gdal.Translate(town, step)  # nothing has changed: any difference is one of drawing
    dataset = gdal.Open(step, gdal.GA_Update)
    dataset.BuildOverviews("AVERAGE", [2, 4])
    dataset = None
    add_series_group(project, folder, "Synthesis")
    group, canvas = series(project), QgsMapCanvas()
    qtbot.addWidget(canvas)
    images = [group.layer("image", step) for step in (0, 1)]
    plain = images[0].clone()
    plain.resampleFilter().setZoomedOutResampler(None)
    first, second, plain = (pixels(settings_of(canvas, [layer], 160, 120)).astype(int) for layer in (*images, plain))
    assert 2 * np.abs(first - second).mean() < np.abs(plain - second).mean()


def test_the_users_own_resampling_is_kept(project, tmp_path, write_series):
    folder = write_series(tmp_path / "run", steps=1)
    layer = QgsRasterLayer(str(tmp_path / "town.tif"), "town")
    layer.resampleFilter().setZoomedOutResampler(QgsCubicRasterResampler())
    add_series_group(project, folder, "Synthesis", image=layer)
    kinds = {image.resampleFilter().zoomedOutResampler().type() for image in series(project).images()}
    assert kinds == {QgsCubicRasterResampler().type()}


def test_a_series_is_no_detection_and_knows_its_folder(project, run):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    assert detection_groups(project) == []
    group = series(project)
    assert group.folder == run
    assert group.steps == [0, 1, 2, 3]


def test_the_pair_of_a_step_is_it_and_the_next(project, run):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    group = series(project)
    images = group.images()
    assert [layer.name()[:7] for layer in images] == ["Image 0", "Image 1", "Image 2", "Image 3"]
    assert group.pair(1) == (images[1], images[2])
    assert group.pair(3) == (images[2], images[3])
    project.removeMapLayer(images[1])
    assert group.pair(0) == (images[0], images[2])


def test_the_ranges_survive_saving_and_reopening_and_do_not_overlap(project, run, tmp_path):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    assert project.write(str(tmp_path / "town.qgz"))
    project.clear()
    assert project.read(str(tmp_path / "town.qgz"))
    group = series(project)
    assert (group.folder, group.timeline.start, group.timeline.amount, group.timeline.unit) == (run, START, *HALF_YEAR)
    for role in ("image", "labels"):
        ranges = [group.layer(role, step).temporalProperties().fixedTemporalRange() for step in range(4)]
        assert [when.begin() for when in ranges] == [group.timeline.range(step).begin() for step in range(4)]
        for step, (now, following) in enumerate(pairwise(ranges), 1):
            assert now.end() < group.timeline.begin(step) < following.begin()
        assert all(group.layer(role, step).temporalProperties().isActive() for step in range(4))
    mask = group.layer("change", 2).temporalProperties().fixedTemporalRange()
    assert mask.begin() == group.timeline.range(2).begin()


def test_the_run_folder_is_where_the_project_took_it(project, tmp_path, write_series):
    add_series_group(project, write_series(tmp_path / "here" / "run"), "Synthesis", START, HALF_YEAR)
    assert project.write(str(tmp_path / "here" / "town.qgz"))
    project.clear()
    (tmp_path / "here").rename(tmp_path / "there")
    assert project.read(str(tmp_path / "there" / "town.qgz"))
    assert series(project).folder == str(tmp_path / "there" / "run")
    assert run_folder_of(project, series(project).layer("labels", 1)) == str(tmp_path / "there" / "run")


@pytest.mark.parametrize("reopened", [False, True])
def test_the_controller_at_step_k_draws_image_k_and_nothing_else(project, canvas, run, tmp_path, reopened):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    if reopened:
        assert project.write(str(tmp_path / "town.qgz"))
        project.clear()
        assert project.read(str(tmp_path / "town.qgz"))
    group = series(project)
    images = group.images()
    canvas.setLayers(images[::-1])
    player = SeriesPlayer(canvas)
    player.show_series(group.timeline, 0, 3)
    drawn = []
    for step in range(4):
        player.go_to(step)
        drawn.append(pixels(settings_of(canvas, images[::-1])))
        alone = settings_of(canvas, [images[step]])
        alone.setIsTemporal(False)
        np.testing.assert_array_equal(drawn[-1], pixels(alone))
    for step in range(1, 4):
        differs = (drawn[step] != drawn[step - 1]).any(axis=2)
        changed = gdal.Open(group.layer("change", step).source()).ReadAsArray() == 1
        assert changed.any()
        np.testing.assert_array_equal(differs, changed)


def test_events_are_drawn_at_their_own_step_only(project, canvas, run):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    group = series(project)
    (events,) = project.mapLayersByName("Events")
    events.setLabelsEnabled(False)
    player = SeriesPlayer(canvas)
    player.show_series(group.timeline, 0, 3)
    grid = group.images()[0]
    for step in range(4):
        player.go_to(step)
        settings = settings_of(canvas, [grid])
        settings.setLayers([events])
        marked = np.unique(np.nonzero((pixels(settings)[12:18] != 255).any(axis=(0, 2)))[0])
        inside = [number for number in range(1, 4) if 20 * number - 10 in marked]
        assert inside == ([step] if step else [])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_are_drawn_as_the_input_is(project, tmp_path, write_series, dtype):
    run = write_series(tmp_path / "run", dtype=dtype)
    given = raster(str(tmp_path / "town.tif"), "Town")
    renderer = QgsMultiBandColorRenderer(given.dataProvider(), 4, 2, 1)
    stretch = QgsContrastEnhancement(given.dataProvider().dataType(4))
    stretch.setMinimumValue(65)
    stretch.setMaximumValue(200)
    stretch.setContrastEnhancementAlgorithm(QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum)
    renderer.setRedContrastEnhancement(stretch)
    given.setRenderer(renderer)
    given.setOpacity(0.5)
    project.addMapLayer(given)
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    for image in series(project).images():
        drawn = image.renderer()
        assert (drawn.redBand(), drawn.greenBand(), drawn.blueBand()) == (4, 2, 1)
        assert drawn.redContrastEnhancement().minimumValue() == 65
        assert drawn.redContrastEnhancement().maximumValue() == 200
        assert image.opacity() == pytest.approx(0.5)


def test_the_drawn_pixels_outside_the_change_are_those_of_the_input_layer(project, canvas, run, tmp_path):
    given = raster(str(tmp_path / "town.tif"), "Town")
    given.setRenderer(QgsMultiBandColorRenderer(given.dataProvider(), 3, 2, 1))
    project.addMapLayer(given)
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    group = series(project)
    before, after = (pixels(settings_of(canvas, [layer])) for layer in (given, group.layer("image", 1)))
    changed = gdal.Open(group.layer("change", 1).source()).ReadAsArray() == 1
    np.testing.assert_array_equal((before != after).any(axis=2), changed)


def test_without_the_input_layer_16_bits_are_drawn_as_the_model_saw_them(project, canvas, tmp_path, write_series):
    run = write_series(tmp_path / "run", dtype=np.uint16)
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    image = series(project).layer("image", 1)
    drawn = pixels(settings_of(canvas, [image]))[..., 2::-1].astype(int)
    seen = gdal.Open(image.source()).ReadAsArray()[:3].transpose(1, 2, 0) / 40
    assert np.abs(drawn - seen).max() <= 1
    assert not list((tmp_path / "run").glob("*.aux.xml"))


def test_labels_have_the_palette_and_masks_show_only_change(project, run):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    group = series(project)
    items = group.layer("labels", 2).renderer().legendSymbologyItems()
    assert [(label, colour.name()) for label, colour in items] == [("ground", "#c8c8c8"), ("building", "#d7263d")]
    block = group.layer("change", 1).renderer().block(1, group.layer("change", 1).extent(), 80, 60)
    assert block.color(15, 10) >> 24 == 255 and block.color(40, 40) >> 24 == 0


def test_each_layer_tells_how_it_was_made(project, run, tmp_path):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    assert project.write(str(tmp_path / "town.qgz"))
    project.clear()
    assert project.read(str(tmp_path / "town.qgz"))
    layers = list(project.mapLayers().values())
    assert len(layers) == 1 + 3 + 4 + 4
    for layer in layers:
        metadata = layer.metadata()
        assert metadata.title() == layer.name()
        assert "town.tif: 3 steps, 3 created" in metadata.abstract()
        (history,) = metadata.history()
        for part in ("2026-11-23T10:05", "model tiny (sha256 abababababab…)", "seed 7", "sampler dpmpp", "on cpu"):
            assert part in history
    synthetic = series(project).layer("image", 2).metadata().abstract()
    assert synthetic.startswith("Synthetic image of 2022-03-01, no observation")


def test_the_dates_are_remembered_with_the_run(project, run):
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    project.clear()
    add_series_group(project, run, "Synthesis")
    timeline = series(project).timeline
    assert (timeline.start, timeline.amount, timeline.unit) == (START, *HALF_YEAR)


def test_the_dates_last_shown_win_over_those_that_the_run_was_begun_with(tmp_path):
    begun, shown = Timeline(datetime(2020, 1, 1)), Timeline(datetime(2022, 2, 2), 3, "days")
    (tmp_path / INPUTS_FOLDER).mkdir()
    write_dates(tmp_path / INPUTS_FOLDER, begun)
    assert timeline_of(tmp_path, {}) == begun
    write_dates(tmp_path, shown)
    assert timeline_of(tmp_path, {}) == shown


def test_without_dates_a_series_goes_on_by_years_from_the_day_of_the_run(project, run):
    add_series_group(project, run, "Synthesis")
    assert [layer.name() for layer in series(project).images()][:2] == ["Image 0 (2026-11-23)", "Image 1 (2027-11-23)"]


def test_a_series_begins_with_its_first_image_where_the_input_has_gone(project, run, tmp_path):
    (tmp_path / "town.tif").unlink()
    add_series_group(project, run, "Synthesis", START, HALF_YEAR)
    assert [layer.name()[:7] for layer in series(project).images()] == ["Image 1", "Image 2", "Image 3"]


def test_a_series_begins_with_an_image_in_an_archive(project, run, tmp_path):
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(tmp_path / "town.tif", "town.tif")
    (tmp_path / "town.tif").unlink()
    manifest = json.loads(Path(run, "manifest.json").read_text())
    manifest["inputs"]["image"]["path"] = f"/vsizip/{tmp_path}/scenes.zip/town.tif"
    Path(run, "manifest.json").write_text(json.dumps(manifest))
    add_series_group(project, run, "Synthesis")
    assert series(project).image_steps == [0, 1, 2, 3]


def test_a_missing_output_is_named(project, run, tmp_path):
    (tmp_path / "run" / "image_t2.tif").unlink()
    with pytest.raises(OSError, match=r"image_t2\.tif.*run the synthesis again"):
        add_series_group(project, run, "Synthesis")
    assert series_groups(project) == []


def test_events_of_a_raster_without_crs_lie_over_it(project, tmp_path, write_series):
    add_series_group(project, write_series(tmp_path / "run", crs=None), "Synthesis", START, HALF_YEAR)
    (events,) = project.mapLayersByName("Events")
    image = series(project).layer("image", 1)
    assert image.extent().yMinimum() == -60 and image.extent().contains(events.extent())
    assert (events.extent().yMinimum(), events.extent().yMaximum()) == (-20, -10)


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({"steps": 3, "events": {"create": 2, "remove": 1}}, "3 steps, 2 created, 1 removed"),
        ({"steps": 1, "events": {"edit": 1200}}, "1 step, 1,200 changed"),
        ({"steps": 1, "events": {}}, "1 step, nothing changed"),
    ],
)
def test_describe(summary, words):
    assert describe_series(summary) == words
