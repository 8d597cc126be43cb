"""Which ground is held out: always some, never all, and none of it twice."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from changen2.gpcm.labels import Box
from changen2.jobs.generation.sources import Place, Source
from changen2.jobs.generation.split import hold_out_end, hold_out_images
from changen2.raster.radiometry import Stretch

SIZE = 64

sides = st.integers(SIZE, 1000)


def image(height, width):
    stretch = Stretch(low=(0.0,), high=(255.0,))
    whole = Box(0, 0, height, width)
    return Source("town.tif", None, (height, width), whole, 1.0, (1, 1, 1), stretch, False, 0.5, True, "train")


def places(source, fertile=lambda top, left: True):
    """Squares that cover an image, the last of a row and a column moved back inside."""
    tops, lefts = (sorted({min(start, n - SIZE) for start in range(0, n, SIZE)}) for n in source.shape)
    return [(Place(source, top, left), fertile(top, left)) for top in tops for left in lefts]


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("count", [2, 3, 5, 6, 40])
def test_of_several_images_some_are_held_out_and_some_are_not(count, share):
    held_out = hold_out_images(count, share, 7)
    assert 1 <= len(held_out) <= count - 1 and held_out <= set(range(count))
    assert len(held_out) == round(share * count) or len(held_out) in (1, count - 1)
    assert not hold_out_images(count, 0, 7) and len(hold_out_images(count, 1, 7)) == count


def test_one_image_alone_is_not_held_out_unless_all_is():
    assert [len(hold_out_images(1, share, 0)) for share in (0, 0.1, 0.9, 1)] == [0, 0, 0, 1]


@given(height=sides, width=sides, share=st.floats(0.001, 0.999))
def test_the_parts_of_an_image_do_not_overlap_and_places_lie_in_their_own(height, width, share):
    assume(max(height, width) >= 2 * SIZE)
    source = image(height, width)
    (near, far), parted = hold_out_end(source, places(source), SIZE, share)
    assert (near.split, far.split) == ("train", "val")
    covered = np.zeros((height, width), int)
    for part in (near.part, far.part):
        covered[part.top : part.bottom, part.left : part.right] += 1
    assert (covered == 1).all()
    for place, _ in parted:
        part = place.source.part
        assert part.top <= place.top <= part.bottom - SIZE and part.left <= place.left <= part.right - SIZE
    held_out = sum(place.source is far for place, _ in parted) / len(parted)
    row = SIZE / max(height, width)
    assert abs(held_out - min(max(share, row), 1 - row)) <= row, "a row of squares is the least that can be told apart"


def test_what_can_change_decides_on_the_cut():
    """Objects at one end only, as on an orthophoto whose rest is forest, or nodata and not among the places."""
    source = image(640, 1280)
    near_only = [(place, has_objects) for place, has_objects in places(source, lambda top, left: left < 320)]
    _, parted = hold_out_end(source, near_only, SIZE, 0.2)
    fertile = [place for place, has_objects in parted if has_objects]
    assert {place.left for place in fertile if place.source.split == "val"} == {256}
    assert {place.left for place in fertile if place.source.split == "train"} == {0, 64, 128, 192}
    column = places(source, lambda top, left: left == 640)
    (near, far), _ = hold_out_end(source, column, SIZE, 0.1)
    assert (near.part, far.part) == (Box(0, 0, 576, 1280), Box(576, 0, 640, 1280)), "across the shorter side"


def test_an_image_of_one_place_stays_whole():
    for source, found in (
        (image(100, 127), places(image(100, 127))),
        (image(40, 50), [(Place(image(40, 50), 0, 0), True)]),
        (image(640, 640), places(image(640, 640), lambda top, left: top == left == 0)),
    ):
        assert hold_out_end(source, found, SIZE, 0.1) == ([source], found)
