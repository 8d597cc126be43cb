"""Drawn events change the pixels whose centre they cover, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from changen2.errors import InputError
from changen2.gpcm.drawn import DrawnEvent, apply_drawn
from changen2.gpcm.labels import NODATA, ArrayLabels, Box


class Watched(ArrayLabels):
    """Remembers which windows were touched."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values)
        self.boxes: list[Box] = []

    def read(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return super().read(box)


corner = st.floats(-5, 35, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.tuples(corner, corner), min_size=3, max_size=6, unique=True), block=st.integers(4, 40))
def test_a_pixel_changes_when_its_centre_is_covered(points: list[tuple[float, float]], block: int) -> None:
    polygon = Polygon(points).buffer(0)
    if polygon.is_empty:
        return
    labels = ArrayLabels(np.full((30, 30), 2, np.uint8))
    events = apply_drawn(labels, [DrawnEvent("create", 8, 1, polygon)], 1, block=block)
    rows, columns = np.indices((30, 30))
    clear = np.zeros((30, 30), bool)
    expected = np.zeros((30, 30), bool)
    for row, column in zip(rows.ravel(), columns.ravel(), strict=True):
        centre = Point(column + 0.5, row + 0.5)
        expected[row, column] = polygon.contains(centre)
        # On the outline itself either answer is right.
        clear[row, column] = polygon.boundary.distance(centre) > 1e-6
    assert np.array_equal((labels.values == 8)[clear], expected[clear])
    assert events[0].area == (labels.values == 8).sum()


def test_steps_order_and_unlabelled_pixels() -> None:
    values = np.full((20, 20), 2, np.uint8)
    values[0, :] = NODATA
    labels = ArrayLabels(values)
    drawn = [
        DrawnEvent("create", 8, 1, box(2, 0, 8, 6)),
        DrawnEvent("edit", 5, 1, box(6, 4, 10, 9)),
        DrawnEvent("remove", 0, 2, box(2, 0, 8, 6)),
    ]
    first = apply_drawn(labels, drawn, 1)
    assert [event.kind for event in first] == ["create", "edit"]
    assert (labels.values[0] == NODATA).all()
    assert labels.values[5, 7] == 5  # the later polygon lies on top
    assert labels.values[2, 3] == 8
    assert first[0].area == 5 * 6 and first[0].from_class == 2
    apply_drawn(labels, drawn, 2)
    assert labels.values[2, 3] == 0 and labels.values[8, 9] == 5


def test_areas_count_what_an_event_changes() -> None:
    labels = ArrayLabels(np.full((20, 20), 2, np.uint8))
    pair = [DrawnEvent("create", 8, 1, box(0, 0, 10, 10)), DrawnEvent("create", 8, 1, box(5, 0, 15, 10))]
    again = DrawnEvent("create", 8, 2, box(0, 0, 12, 10))
    first, (nothing,) = apply_drawn(labels, pair, 1), apply_drawn(labels, [again], 2)
    assert [event.area for event in first] == [100, 50] and (labels.values == 8).sum() == 150
    assert [event.from_class for event in first] == [2, 2]
    assert nothing.area == 0 and nothing.from_class is None


def test_only_the_polygons_windows_are_touched() -> None:
    labels = Watched(np.zeros((4000, 4000), np.uint8))
    apply_drawn(labels, [DrawnEvent("create", 1, 1, box(100, 200, 130, 240))], 1)
    assert labels.boxes == [Box(200, 100, 240, 130)]


def test_a_polygon_off_the_map_changes_nothing() -> None:
    labels = ArrayLabels(np.zeros((10, 10), np.uint8))
    events = apply_drawn(labels, [DrawnEvent("create", 1, 1, box(50, 50, 60, 60))], 1)
    assert events[0].area == 0 and not labels.values.any()


def test_bad_events_are_refused() -> None:
    with pytest.raises(InputError, match="'explode' is no event"):
        DrawnEvent("explode", 1, 1, box(0, 0, 1, 1))
    with pytest.raises(InputError, match="Step 0"):
        DrawnEvent("create", 1, 0, box(0, 0, 1, 1))


def test_one_can_cancel_between_the_windows_of_events() -> None:
    asked: list[None] = []
    drawn = [DrawnEvent("create", 8, 1, box(0, 0, 30, 30))]
    apply_drawn(ArrayLabels(np.full((30, 30), 2, np.uint8)), drawn * 3, 1, block=15, check=lambda: asked.append(None))
    assert len(asked) == 3 * 4
