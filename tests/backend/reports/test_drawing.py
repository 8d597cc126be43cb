import numpy as np
import pytest

from changen2.gpcm.synthesis import Settings
from changen2.models.rsdit_tiny import BUILDING, WATER
from changen2.reports.drawing import draw_edit, draw_whole

SETTINGS = Settings(steps=4, gsd=0.3)


def colour(generator, index):
    return (generator.palette[index].numpy() + 1) * 127.5


@pytest.mark.parametrize("sampler", ["dpmpp", "ddpm"])
def test_whole_pictures_show_their_labels(flat_generator, sampler):
    labels = np.full((2, 64, 96), WATER, np.uint8)
    labels[1] = BUILDING
    drawn = draw_whole(flat_generator, labels, [0.3, 0.3], [0, 1], sampler, 8)
    assert drawn.shape == (2, 3, 64, 96) and drawn.dtype == np.uint8
    # Away from the edges, which the stand-in smooths.
    assert drawn[0, :, 8:-8, 8:-8].mean((1, 2)) == pytest.approx(colour(flat_generator, WATER), abs=6)
    assert drawn[1, :, 8:-8, 8:-8].mean((1, 2)) == pytest.approx(colour(flat_generator, BUILDING), abs=6)


def test_a_picture_is_its_seeds_alone(flat_generator):
    labels = np.full((2, 64, 64), WATER, np.uint8)
    together = draw_whole(flat_generator, labels, [0.3, 0.3], [5, 6], "dpmpp", 4)
    alone = draw_whole(flat_generator, labels[:1], [0.3], [6], "dpmpp", 4)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    assert (together[0] != together[1]).any()


def test_an_edit_touches_its_change_only(flat_generator, tile):
    change = np.zeros((256, 256), bool)
    change[100:140, 120:170] = True
    wanted = np.where(change, BUILDING, tile.label).astype(np.uint8)
    after = draw_edit(flat_generator, tile.image, wanted, change, SETTINGS)
    assert (after[:, ~change] == tile.image[:, ~change]).all()
    middle = after[:, 112:128, 135:155].mean((1, 2))
    assert middle == pytest.approx(colour(flat_generator, BUILDING), abs=25)


def test_an_exemplar_starts_elsewhere(flat_generator, tile):
    change = np.zeros((256, 256), bool)
    change[100:130, 120:160] = True
    wanted = np.where(change, BUILDING, tile.label).astype(np.uint8)
    free = draw_edit(flat_generator, tile.image, wanted, change, SETTINGS)
    held = draw_edit(flat_generator, tile.image, wanted, change, SETTINGS, exemplars=tile.label)
    assert (held[:, ~change] == tile.image[:, ~change]).all()
    assert (held != free).any()
