"""When each step of a series is, and the temporal controller that shows it."""

from datetime import datetime

import pytest
from qgis.core import QgsTemporalNavigationObject
from qgis.gui import QgsMapCanvas

from changen2_qgis.errors import InputError
from changen2_qgis.temporal import UNITS, SeriesPlayer, Timeline


@pytest.fixture
def canvas(qgis_new_project, qtbot):
    canvas = QgsMapCanvas()
    qtbot.addWidget(canvas)
    canvas.setTemporalController(QgsTemporalNavigationObject(canvas))
    return canvas


def test_a_range_ends_before_the_next_begins():
    timeline = Timeline(datetime(2021, 1, 31), 1, "months")
    for step in range(14):
        now, following = timeline.range(step), timeline.range(step + 1)
        assert now.end().msecsTo(timeline.begin(step + 1)) == 1
        assert not now.overlaps(following) and not following.overlaps(now)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("steps", [1, 2, 5, 40])
@pytest.mark.parametrize("amount", [1, 6])
def test_the_controller_has_a_frame_for_each_step_and_no_other(canvas, unit, steps, amount):
    timeline = Timeline(datetime(2020, 1, 1), amount, unit)
    player = SeriesPlayer(canvas)
    player.show_series(timeline, 0, steps)
    controller = canvas.temporalController()
    for step in range(steps + 1):
        player.go_to(step)
        assert player.step == step
        assert canvas.temporalRange().begin() == timeline.begin(step)
        shown = [k for k in range(steps + 1) if timeline.range(k).overlaps(canvas.temporalRange())]
        assert shown == [step]
    assert controller.totalFrameCount() == steps + 1


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_series_may_begin_at_any_step(canvas, first):
    player, timeline = SeriesPlayer(canvas), Timeline(datetime(2021, 1, 1), 6, "months")
    player.show_series(timeline, first, 5)
    for step in range(first, 6):
        player.go_to(step)
        assert player.step == step and canvas.temporalRange().begin() == timeline.begin(step)


def test_dates_are_those_that_were_chosen():
    assert Timeline(datetime(2021, 3, 1), 6, "months").date(1) == "2021-09-01"
    assert Timeline(datetime(2021, 3, 1, 9), 2, "hours").date(1) == "2021-03-01 11:00"


def test_a_timeline_comes_back_from_its_text():
    timeline = Timeline(datetime(2021, 3, 1, 9, 30), 2, "weeks")
    assert Timeline.from_text(timeline.to_text()) == timeline


@pytest.mark.parametrize(("amount", "unit"), [(0, "days"), (1, "fortnights")])
def test_an_impossible_interval_is_refused(amount, unit):
    with pytest.raises(InputError, match=unit):
        Timeline(datetime(2021, 3, 1), amount, unit)


def test_playing_goes_from_the_first_step_to_the_last_and_rests_there(canvas, qtbot):
    player = SeriesPlayer(canvas)
    player.show_series(Timeline(datetime(2021, 1, 1)), 0, 2)
    canvas.temporalController().setFramesPerSecond(50)
    seen = []
    player.changed.connect(lambda: seen.append(player.step))
    player.play()
    assert player.playing
    qtbot.waitUntil(lambda: player.step == 2)
    assert [step for at, step in enumerate(seen) if at == 0 or seen[at - 1] != step][-3:] == [0, 1, 2]
    controller = canvas.temporalController()
    qtbot.waitUntil(lambda: controller.animationState() == controller.AnimationState.Idle)
    assert not player.playing
    player.play()
    assert player.step == 0


def test_pausing_stays_and_stopping_shows_all_times_again(canvas):
    player = SeriesPlayer(canvas)
    player.show_series(Timeline(datetime(2021, 1, 1)), 0, 3)
    player.go_to(2)
    player.play()
    player.pause()
    assert player.step == 2 and not player.playing
    player.stop()
    assert player.step is None and not player.on
    assert not canvas.mapSettings().isTemporal()


def test_another_series_does_not_pass_for_this_one(canvas):
    first, second = SeriesPlayer(canvas), SeriesPlayer(canvas)
    first.show_series(Timeline(datetime(2021, 1, 1)), 0, 3)
    second.show_series(Timeline(datetime(2022, 1, 1)), 0, 3)
    first.go_to(1)
    assert first.on and not second.on
    second.go_to(1)
    assert second.on and not first.on
