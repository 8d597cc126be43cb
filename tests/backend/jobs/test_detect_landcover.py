"""The embedded land-cover detector in the engine: class maps, their colours, and polygons from class to class."""

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine

from changen2.jobs.detect import detect
from changen2.models.registry import card_of, weights_path
from changen2.raster.vectors import read_class_tags
from changen2.scenes import SceneStyle, draw_pair

NAMES = ["unknown", "water", "land", "road", "building", "vegetation"]


@pytest.fixture(scope="module")
def scene():
    """A suburb in which houses are built."""
    return draw_pair(31, 192, 192, 0.5, SceneStyle.random(np.random.default_rng(31), "suburb"))


@pytest.fixture(scope="module")
def found(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("land cover")
    paths = []
    for name, image in (("before", scene.before), ("after", scene.after)):
        paths.append(folder / f"{name}.tif")
        profile = {"driver": "GTiff", "height": 192, "width": 192, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
        with rasterio.open(paths[-1], "w", **profile, transform=Affine(0.5, 0, 5e5, 0, -0.5, 5e6)) as target:
            target.write(np.moveaxis(image, -1, 0))
    return detect(*paths, folder / "run", model="tiny-landcover", threads=1)["outputs"]


def test_both_dates_get_class_maps_with_names_and_colours(found, scene):
    card = card_of("tiny-landcover")
    assert [item.name for item in card.classes] == NAMES
    for layer, drawn in (("semantic_before", scene.semantic_before), ("semantic_after", scene.semantic_after)):
        with rasterio.open(found[layer]) as dataset:
            classes, colours, tags = dataset.read(1), dataset.colormap(1), read_class_tags(dataset.tags())
        assert set(np.unique(classes)) <= {1, 2, 3, 4, 5}
        assert [tags[item.index] for item in card.classes] == NAMES
        for item in card.classes:
            assert "#{:02x}{:02x}{:02x}".format(*colours[item.index][:3]) == item.color
        known = drawn > 0
        assert (classes[known] == drawn[known]).mean() > 0.6


def test_polygons_tell_from_which_class_to_which(found):
    meta, _, _, columns = pyogrio.raw.read(found["polygons"], layer="change")
    fields = dict(zip(meta["fields"], columns, strict=True))
    assert len(fields["from_class"]) > 0
    for before, after in zip(fields["from_class"], fields["to_class"], strict=True):
        assert before in NAMES[1:] and after in NAMES[1:] and before != after
    assert "building" in {*fields["from_class"], *fields["to_class"]}


def test_its_file_holds_no_encoder():
    card = card_of("tiny-landcover")
    assert card.encoder_of == "tiny"
    assert weights_path(card).stat().st_size < 2e6
