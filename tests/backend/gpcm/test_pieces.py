"""Pieces that were decoded in a tone of their own go over into each other."""

import numpy as np
import pytest

from changen2.gpcm.labels import Box
from changen2.gpcm.pieces import Drawn, _ramp, blended

REACH = 8
WHOLE = Box(0, 0, 96, 128)


def cut(picture, tones):
    """The pieces of a picture [3, 96, 128], 32 pixels a side, each brighter by its tone."""
    for tone, box in zip(tones, WHOLE.blocks(32), strict=True):
        around = Box(box.top - REACH, box.left - REACH, box.bottom + REACH, box.right + REACH).meet(WHOLE)
        rows, columns = around.inside(WHOLE)
        yield Drawn(box, around, (picture[:, rows, columns] + tone).astype(np.float32))


def put_together(pieces):
    picture = np.full((3, *WHOLE.shape), np.nan, np.float32)
    for piece in pieces:
        rows, columns = piece.box.inside(WHOLE)
        here = piece.box.inside(piece.seen)
        picture[:, rows, columns] = piece.rgb[:, here[0], here[1]]
    return picture


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(0, 255, (3, *WHOLE.shape)).astype(np.float32)


def test_what_agrees_stays_as_it_is(picture):
    pieces = list(cut(picture, [0] * 12))
    found = list(blended(pieces, REACH))
    assert [piece.box for piece in found] == [piece.box for piece in pieces]
    np.testing.assert_allclose(put_together(found), picture, atol=1e-3)
    for piece, given in zip(found, pieces, strict=True):
        np.testing.assert_allclose(piece.rgb, given.rgb, atol=1e-3)


def test_no_step_is_left_between_tones(picture):
    tones = np.random.default_rng(1).uniform(-20, 20, 12)
    plain = put_together(cut(picture, tones)) - picture
    smooth = put_together(blended(cut(picture, tones), REACH)) - picture
    steps = [max(np.abs(np.diff(tone, axis=axis)).max() for axis in (1, 2)) for tone in (plain, smooth)]
    assert steps[0] > 20 and steps[1] < 40 / (2 * REACH) + 0.1
    # In the middle of a piece its own tone stands.
    np.testing.assert_allclose(smooth[0, 16::32, 16::32].ravel(), tones, atol=1e-3)


@pytest.mark.parametrize(("length", "reach"), [(1, 1), (7, 20), (32, REACH), (40, 3)])
def test_a_piece_goes_over_alike_at_both_ends(length, reach):
    share = _ramp(np.arange(-reach, length + reach), 0, length, reach)
    assert np.array_equal(share, share[::-1])


def test_three_rows_are_held(picture):
    taken = []

    def counted():
        for piece in cut(picture, [0] * 12):
            taken.append(piece.box.top)
            yield piece

    for piece in blended(counted(), REACH):
        assert max(taken) <= piece.box.top + 64
