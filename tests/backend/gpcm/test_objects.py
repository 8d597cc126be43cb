"""Objects are 8-connected, complete, and the same whatever the blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from changen2.gpcm.labels import ArrayLabels, Box
from changen2.gpcm.objects import components, find_objects

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13), elements=st.integers(0, 2))


def test_diagonal_neighbours_are_one_object() -> None:
    values = np.array([[1, 0, 0], [0, 1, 0], [2, 0, 1]], np.uint8)
    objects = find_objects(ArrayLabels(values))
    # The ones hang together by their corners, and so do both halves of the zeros across them.
    assert objects.classes.tolist() == [1, 0, 2]
    assert objects.areas.tolist() == [3, 5, 1]


@settings(max_examples=150, deadline=None)
@given(values=maps, block=st.integers(1, 6))
def test_blocks_do_not_matter(values: np.ndarray, block: int) -> None:
    whole, pieces = find_objects(ArrayLabels(values)), find_objects(ArrayLabels(values), block=block)
    for name in ("classes", "areas", "boxes", "firsts"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name
    ids = np.zeros(values.shape, np.int64)
    for box in pieces.blocks():
        window = (slice(box.top, box.bottom), slice(box.left, box.right))
        ids[window] = pieces.ids(box, values[window])
    expected = whole.ids(Box(0, 0, *values.shape), values)
    assert np.array_equal(ids, expected)


@settings(max_examples=60, deadline=None)
@given(values=maps, block=st.integers(1, 6))
def test_footprints_are_the_objects(values: np.ndarray, block: int) -> None:
    labels = ArrayLabels(values)
    objects = find_objects(labels, block=block)
    local, count = components(values)
    assert len(objects) == count
    for index in range(len(objects)):
        box = objects.box(index)
        mask = np.zeros(values.shape, bool)
        mask[box.top : box.bottom, box.left : box.right] = objects.footprint(labels, index)
        row, column = divmod(int(objects.firsts[index]), values.shape[1])
        assert np.array_equal(mask, local == local[row, column])
        assert mask.sum() == objects.areas[index]
