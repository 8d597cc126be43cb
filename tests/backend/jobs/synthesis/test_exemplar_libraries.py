"""What a change starts from where the image itself has nothing that fits."""

import numpy as np
import pytest

from changen2.gpcm.classes import AERIAL
from changen2.gpcm.labels import NODATA, Box
from changen2.gpcm.libraries import ArrayLibrary
from changen2.jobs.synthesis.exemplar_libraries import LARGEST_ROOF, SCENE_SIDE, DrawnScene, RoofDrawer, exemplars_for

NAMES = list(AERIAL.names.values())
BUILDING, VEGETATION = NAMES.index("building"), NAMES.index("vegetation")
LOOK = np.array([90.0, 100.0, 80.0]), np.array([40.0, 40.0, 40.0])


@pytest.fixture
def wing():
    """An L-shaped footprint."""
    inside = np.zeros((50, 60), bool)
    inside[:, :20] = inside[30:, :] = True
    return inside


def roofs(gsd=0.3, seed=1):
    return RoofDrawer(LOOK, BUILDING, gsd, seed)


def test_a_roof_covers_its_footprint(wing):
    picture = roofs().draw(wing, BUILDING, [], LOOK[0], np.random.default_rng(0)).astype(float)
    assert picture.shape == (3, 50, 60)
    beyond = picture[:, :26, 26:]  # far from both wings: the ground that it was drawn on
    ground = np.median(beyond.reshape(3, -1), axis=1)[:, None, None]
    unlike = np.abs(picture - ground).sum(0) > 20
    # Beside it only its shadow is unlike the ground.
    darker = picture.sum(0) < ground.sum() + 20
    assert unlike[wing].mean() > 0.9 and darker[:26, 26:].mean() > 0.95


def test_it_draws_buildings_only_and_the_same_again(wing):
    assert roofs().draw(wing, VEGETATION, [], LOOK[0], np.random.default_rng(0)) is None
    quarter = np.ones((20, LARGEST_ROOF + 1), bool)
    assert roofs().draw(quarter, BUILDING, [], LOOK[0], np.random.default_rng(0)) is None
    first, again = (roofs().draw(wing, BUILDING, [], LOOK[0], np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, again)


def test_a_sliver_is_drawn_too():
    picture = roofs().draw(np.eye(150, dtype=bool), BUILDING, [], LOOK[0], np.random.default_rng(0))
    assert picture.shape == (3, 150, 150)


def test_a_new_roof_has_the_colour_of_its_neighbours(wing):
    labels = np.full((90, 90), NODATA, np.uint8)
    labels[20:60, 20:60] = BUILDING
    rgb = np.full((3, 90, 90), 90, np.uint8)
    tone = np.array([190, 60, 120])
    rgb[:, labels == BUILDING] = tone[:, None]
    own = [ArrayLibrary("neighbours", rgb, labels)]
    picture = roofs().draw(wing, BUILDING, own, LOOK[0], np.random.default_rng(0))
    assert picture[:, wing].mean(1) == pytest.approx(tone, abs=6)


def test_a_scene_is_drawn_when_it_is_looked_at(monkeypatch):
    scene = DrawnScene(LOOK, NAMES, 0.4, [3, 0])
    assert "_scene" not in vars(scene) and scene.shape == (SCENE_SIDE, SCENE_SIDE)
    whole = Box(0, 0, *scene.shape)
    row, column = scene.places(VEGETATION)[0]
    assert scene.labels(whole)[row, column] == VEGETATION


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_takes_the_light_of_an_image_and_leaves_its_green(seed):
    def road(*mean):
        scene = exemplars_for((np.array(mean), LOOK[1]), NAMES, 0.3, seed).others[0]
        whole = Box(0, 0, *scene.shape)
        return np.median(scene.rgb(whole)[:, scene.labels(whole) == NAMES.index("road")], axis=1)

    plain, bright, green = road(90, 90, 90), road(150, 150, 150), road(70, 130, 70)
    assert (bright > plain + 10).all()
    # A road in a forest is a little greener than elsewhere, by less than half of what the forest is.
    assert 0 < (green - plain)[1] - (green - plain)[[0, 2]].mean() < 30


@pytest.mark.parametrize("seed", range(3))
def test_there_is_something_to_begin_each_class_with(seed):
    scenes = exemplars_for(LOOK, NAMES, 0.3, seed).others
    for name in ("water", "land", "road", "vegetation"):
        assert max(len(scene.places(NAMES.index(name))) for scene in scenes) > 1000, name


def test_nothing_is_drawn_for_a_class_that_scenes_lack():
    scene = DrawnScene(LOOK, [*NAMES, "contour"], 0.4, [3, 0])
    assert not len(scene.places(NAMES.index("building") + 2)) and "_scene" not in vars(scene)


def test_without_buildings_no_roofs():
    assert exemplars_for(LOOK, ["background", "water"], 0.3, 0).drawer is None
    known = exemplars_for(LOOK, NAMES, 0.3, 0)
    assert known.drawer is not None and list(known.own) == [] and known.others
