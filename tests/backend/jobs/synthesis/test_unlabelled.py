"""Drawn removals in an image without labels: an object stands where the first event leaves nothing."""

import numpy as np
import pytest
import shapely

from changen2.gpcm.classes import AERIAL
from changen2.gpcm.drawn import DrawnEvent
from changen2.gpcm.labels import Box
from changen2.jobs.synthesis.unlabelled import Unlabelled

BOX = Box(10, 20, 74, 84)


def events_of(random, count):
    """Events of any size and place, also beside the window and finer than a pixel."""
    events = []
    for _ in range(count):
        shape = shapely.convex_hull(shapely.MultiPoint(random.uniform(0, 100, 2) + random.normal(0, 8, (6, 2))))
        to_class = int(random.choice([0, 4]))
        events.append(DrawnEvent("edit" if to_class else "remove", to_class, int(random.integers(1, 4)), shape))
    return [
        *events,
        DrawnEvent("remove", 0, 1, shapely.box(0, 0, 20, 90)),
        DrawnEvent("remove", 0, 1, shapely.box(84.2, 0, 84.4, 90)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_window_is_burnt_only_where_events_lie(seed, monkeypatch):
    events = events_of(np.random.default_rng(seed), 30)
    expected = np.zeros(BOX.shape, np.uint8)
    for event in sorted(events, key=lambda event: -event.step):
        expected[event.burn(BOX)] = 0 if event.to_class else 1
    burnt, burn = [], DrawnEvent.burn
    monkeypatch.setattr(DrawnEvent, "burn", lambda event, box: burnt.append((event, box)) or burn(event, box))
    found = Unlabelled(events, AERIAL).read(BOX)
    assert np.array_equal(found != 0, expected != 0)
    for event, box in burnt:
        left, top, right, bottom = event.geometry.bounds
        assert 0 < box.shape[0] < bottom - top + 2 and 0 < box.shape[1] < right - left + 2
