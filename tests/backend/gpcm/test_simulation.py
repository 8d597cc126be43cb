"""What a simulated step promises, for maps of any content."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from changen2.gpcm.labels import NODATA, ArrayLabels, Box, change
from changen2.gpcm.objects import components, find_objects
from changen2.gpcm.simulation import Event, Rules, choose_edits, simulate_step
from changen2.gpcm.transitions import OPEN_EARTH_MAP_TRANSITIONS

BUILDING = 8


def town(seed: int, side: int = 72) -> np.ndarray:
    """A label map of land-cover patches with rectangular buildings and some pixels without a label."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 8, (side // 12 + 1, side // 12 + 1), dtype=np.uint8)
    values = np.kron(coarse, np.ones((12, 12), np.uint8))[:side, :side].copy()
    for _ in range(int(rng.integers(0, 9))):
        top, left = rng.integers(0, side - 14, 2)
        rows, columns = rng.integers(3, 14, 2)
        values[top : top + rows, left : left + columns] = BUILDING
    values[: int(rng.integers(0, 4))] = NODATA
    return values


def step(values: np.ndarray, rules: Rules, seed: int, block: int = 4096) -> tuple[np.ndarray, list[Event], np.ndarray]:
    """S_{t+1}, the events and the number of the event at each pixel."""
    then, marks = ArrayLabels(values.copy()), np.zeros(values.shape, np.int32)

    def mark(box: Box, numbers: np.ndarray) -> None:
        window = marks[box.top : box.bottom, box.left : box.right]
        window[numbers > 0] = numbers[numbers > 0]

    events = simulate_step(ArrayLabels(values), then, rules, seed, 1, block=block, on_mark=mark)
    return then.values, events, marks


seeds = st.integers(0, 2**31)
FULL = Rules(transitions=OPEN_EARTH_MAP_TRANSITIONS)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_created_objects_never_cover_existing_ones(seed: int) -> None:
    before = town(seed)
    after, events, marks = step(before, Rules(kinds=("create",), count=(1, 6)), seed)
    assert (after[before == BUILDING] == BUILDING).all()
    assert np.array_equal(after != before, marks > 0)
    objects = find_objects(ArrayLabels(before))
    large = set(objects.areas[(objects.classes == BUILDING) & (objects.areas > 64)].tolist())
    for event in events:
        assert event.kind == "create" and event.to_class == BUILDING
        # A copy of an existing object of more than 64 pixels, on ground that had a label.
        assert (marks == event.number).sum() == event.area and event.area in large
        assert not np.isin(before[marks == event.number], [BUILDING, NODATA]).any()


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_exactly_the_chosen_objects_are_removed(seed: int) -> None:
    before = town(seed)
    after, events, marks = step(before, Rules(kinds=("remove",), count=(1, 3), background=3), seed)
    local, _ = components(before)
    gone = set(np.unique(local[marks > 0]).tolist())
    assert len(gone) == len(events) <= 3
    expected = np.where(np.isin(local, list(gone)), 3, before)
    assert np.array_equal(after, expected)
    assert all(event.from_class == BUILDING and event.area > 64 for event in events)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_edits_follow_the_table_and_change_whole_objects(seed: int) -> None:
    before = town(seed)
    after, events, marks = step(before, Rules(kinds=("edit",), transitions=OPEN_EARTH_MAP_TRANSITIONS), seed)
    local, _ = components(before)
    assert np.array_equal(after != before, marks > 0)
    assert (after[before == NODATA] == NODATA).all()
    for event in events:
        mine = marks == event.number
        assert event.to_class in OPEN_EARTH_MAP_TRANSITIONS[event.from_class or 0]
        assert (after[mine] == event.to_class).all() and (before[mine] == event.from_class).all()
        assert np.array_equal(mine, local == local[mine][0])


def test_small_objects_are_edited_and_kept() -> None:
    before = np.full((40, 40), 2, np.uint8)
    before[4:8, 4:8] = BUILDING  # 16 pixels
    rules = Rules(kinds=("edit",), edit_probability=1.0, transitions={BUILDING: (3,)})
    after, events, _ = step(before, rules, 0)
    assert (after[4:8, 4:8] == 3).all() and len(events) == 1
    untouched, _, _ = step(before, Rules(kinds=("edit",), edit_probability=1.0, transitions={2: (1,)}), 0)
    assert (untouched[4:8, 4:8] == BUILDING).all()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, block=st.integers(5, 40))
def test_all_events_together_change_nothing_else_and_do_not_depend_on_blocks(seed: int, block: int) -> None:
    before = town(seed)
    after, events, marks = step(before, FULL, seed)
    again, events_again, marks_again = step(before, FULL, seed, block=block)
    assert np.array_equal(after, again) and np.array_equal(marks, marks_again)
    assert events == events_again
    label = change(before, after)
    assert np.array_equal(label == 1, marks > 0)
    assert np.array_equal(label == NODATA, before == NODATA)
    # Each counts what is its own at the end, though houses may be built on ground that was edited.
    assert [event.area for event in events] == [(marks == event.number).sum() for event in events]


def test_another_seed_and_another_step_draw_anew() -> None:
    before = town(3)
    first = step(before, FULL, 1)[0]
    assert not np.array_equal(first, step(before, FULL, 2)[0])
    then = ArrayLabels(before.copy())
    simulate_step(ArrayLabels(before), then, FULL, 1, 2)
    assert not np.array_equal(first, then.values)


def test_edit_probability_and_targets_are_those_of_the_rules() -> None:
    before = (np.indices((120, 120)).sum(0) % 2).astype(np.uint8)
    before[1::2] = 4
    before[:, 1::2] = 5
    before[::2, ::2] = 1
    objects = find_objects(ArrayLabels(before))
    single = objects.classes == 1
    assert single.sum() == 3600
    targets = choose_edits(objects, Rules(transitions={1: (2, 3, 7)}), np.random.default_rng(0))[single]
    # 3600 objects at p = 0.3: four standard deviations are 110; the three targets are equally likely.
    assert abs((targets >= 0).sum() - 1080) < 110
    counts = np.array([(targets == value).sum() for value in (2, 3, 7)])
    assert np.abs(counts - counts.mean()).max() < 80
    assert (choose_edits(objects, Rules(transitions={1: (2,)}), np.random.default_rng(0))[~single] == -1).all()


def test_a_full_map_has_no_room() -> None:
    full = np.full((30, 30), BUILDING, np.uint8)
    after, events, _ = step(full, Rules(kinds=("create",)), 0)
    assert not events and np.array_equal(after, full)


@pytest.mark.parametrize("kinds", [(), ("remove",)])
def test_nothing_happens_where_nothing_may_or_can(kinds: tuple[str, ...]) -> None:
    bare = np.full((20, 20), 1, np.uint8)
    after, events, _ = step(bare, Rules(kinds=kinds), 0)
    assert not events and np.array_equal(after, bare)
