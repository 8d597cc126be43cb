"""Time of a synthesized series: the range of each step on its layers, and playing it on the canvas.

All times are UTC, as in QGIS's own temporal controller: a date that the user chooses is shown as just that date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qgis.core import (
    Qgis,
    QgsDateTimeRange,
    QgsInterval,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsTemporalNavigationObject,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QDateTime, QObject, Qt, pyqtSignal

from .errors import InputError

UNITS = ("hours", "days", "weeks", "months", "years")
"""Units of an interval, from short to long."""

_TEMPORAL_UNITS = {
    "hours": QgsUnitTypes.TemporalUnit.TemporalHours,
    "days": QgsUnitTypes.TemporalUnit.TemporalDays,
    "weeks": QgsUnitTypes.TemporalUnit.TemporalWeeks,
    "months": QgsUnitTypes.TemporalUnit.TemporalMonths,
    "years": QgsUnitTypes.TemporalUnit.TemporalYears,
}


@dataclass(frozen=True)
class Timeline:
    """When each step of a series is: step k from `start` + k intervals up to the next.

    Attributes:
        start: date of step 0; its time zone, if any, is not looked at.
        amount: length of the interval in units, at least 1.
        unit: one of `UNITS`; months and years are those of the calendar.

    Raises:
        InputError: the interval is none of these.
    """

    start: datetime
    amount: int = 1
    unit: str = "years"

    def __post_init__(self) -> None:
        if self.amount < 1 or self.unit not in UNITS:
            raise InputError(
                f"An interval of {self.amount} {self.unit} is not possible.",
                f"Give a whole number from 1 up and one of {', '.join(UNITS)}.",
                "bad_value",
            )

    def begin(self, step: int) -> QDateTime:
        """When a step begins, in UTC."""
        start = QDateTime.fromString(f"{self.start:%Y-%m-%dT%H:%M:%S}Z", Qt.DateFormat.ISODate)
        count = step * self.amount
        if self.unit == "hours":
            return start.addSecs(3600 * count)
        if self.unit == "days":
            return start.addDays(count)
        if self.unit == "weeks":
            return start.addDays(7 * count)
        return start.addMonths(count) if self.unit == "months" else start.addYears(count)

    def range(self, step: int) -> QgsDateTimeRange:
        """When a step is shown: from 1 s after it begins to 1 ms before the next.

        The ends are kept off those of the controller's frames, or two steps would be shown at once. QGIS's project
        file does not keep whether a range includes its ends, and reads it as if it did; it keeps whole seconds, so
        after reopening a step ends 1 s before the next. And QGIS 3.22 shows a layer that begins just where a frame
        ends, though the frame does not include its end (`QgsTemporalRange::overlaps` looks at one range's ends only).
        """
        return QgsDateTimeRange(self.begin(step).addSecs(1), self.begin(step + 1).addMSecs(-1))

    def extent(self, first: int, last: int) -> QgsDateTimeRange:
        """What the temporal controller is given to show exactly the steps from `first` to `last`.

        It counts frames by dividing with a month of 30 days and a year of 365.25, so the end is put into the middle
        of the last frame as counted so.
        """
        begin = self.begin(first)
        seconds = (last - first + 0.5) * self.frame().seconds()
        return QgsDateTimeRange(begin, begin.addSecs(int(seconds)))

    def frame(self) -> QgsInterval:
        """The interval."""
        return QgsInterval(self.amount, _TEMPORAL_UNITS[self.unit])

    def date(self, step: int) -> str:
        """When a step begins, in words: "2021-03-01", with the hour where it matters."""
        text = self.begin(step).toString("yyyy-MM-dd hh:mm")
        return text if self.unit == "hours" or not text.endswith("00:00") else text[:10]

    def to_text(self) -> str:
        """For project files: "2021-03-01T00:00:00/1/years"."""
        return f"{self.start:%Y-%m-%dT%H:%M:%S}/{self.amount}/{self.unit}"

    @classmethod
    def from_text(cls, text: str) -> Timeline:
        """What `to_text` wrote.

        Raises:
            ValueError: it is something else.
        """
        start, amount, unit = text.split("/")
        return cls(datetime.fromisoformat(start), int(amount), unit)


def set_fixed_range(layer: QgsMapLayer, when: QgsDateTimeRange) -> None:
    """Show a layer only in this range, where time matters at all."""
    properties = layer.temporalProperties()
    kind = Qgis.RasterTemporalMode if isinstance(layer, QgsRasterLayer) else Qgis.VectorTemporalMode
    properties.setMode(kind.FixedTemporalRange)
    properties.setFixedTemporalRange(when)
    properties.setIsActive(True)


def set_range_by_step(layer: QgsVectorLayer, timeline: Timeline, last: int) -> None:
    """Show each event of a layer in the range of its field `step`, 0 to `last`."""
    ranges = [timeline.range(step) for step in range(last + 1)]
    properties = layer.temporalProperties()
    properties.setMode(Qgis.VectorTemporalMode.FeatureDateTimeStartAndEndFromExpressions)
    properties.setStartExpression(_by_step([when.begin() for when in ranges]))
    properties.setEndExpression(_by_step([when.end() for when in ranges]))
    properties.setIsActive(True)


def _by_step(times: list[QDateTime]) -> str:
    """An expression; counting with intervals in one would take all months for 30 days long."""
    listed = ",".join(when.toString("yyyy-MM-dd hh:mm:ss") for when in times)
    return f"to_datetime(array_get(string_to_array('{listed}'), \"step\"))"


class SeriesPlayer(QObject):
    """Plays a series with the canvas's temporal controller, the one of QGIS's own panel.

    Signals:
        changed: another step is shown, or playing began, paused or ended.
    """

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._timeline: Timeline | None = None
        self._first = self._last = 0
        # Python cannot hear the controller's own signals in QGIS 3.22; all that they tell changes the canvas's range.
        canvas.temporalRangeChanged.connect(self.changed)

    def _controller(self) -> QgsTemporalNavigationObject:
        controller = self._canvas.temporalController()
        if controller is None:  # a canvas of its own, without QGIS's window
            controller = QgsTemporalNavigationObject(self._canvas)
            self._canvas.setTemporalController(controller)
        return controller

    def show_series(self, timeline: Timeline | None, first: int = 0, last: int = 0) -> None:
        """Choose what is played: the steps from `first` to `last`; None for nothing. The map does not change yet."""
        self._timeline, self._first, self._last = timeline, first, last
        self.changed.emit()

    @property
    def on(self) -> bool:
        """Whether the canvas shows single steps of this series."""
        controller = self._controller()
        return (
            self._timeline is not None
            and controller.navigationMode() == controller.NavigationMode.Animated
            and controller.temporalExtents() == self._timeline.extent(self._first, self._last)
            and controller.frameDuration() == self._timeline.frame()
        )

    @property
    def playing(self) -> bool:
        """Whether steps follow each other by themselves."""
        controller = self._controller()
        forward = controller.animationState() == controller.AnimationState.Forward
        return forward and self.step is not None and self.step < self._last

    @property
    def step(self) -> int | None:
        """The step that is shown; None while time is off, and all is shown."""
        return self._first + int(self._controller().currentFrameNumber()) if self.on else None

    def go_to(self, step: int) -> None:
        """Show one step, the nearest there is."""
        if self._timeline is None:
            return
        controller = self._controller()
        if not self.on:
            self._set_up(controller, self._timeline)
        controller.setCurrentFrameNumber(min(max(step, self._first), self._last) - self._first)

    def play(self) -> None:
        """From the step shown, or the first, to the last."""
        if self._timeline is None:
            return
        if not self.on:
            self.go_to(self._first)
        self._controller().playForward()
        self.changed.emit()

    def pause(self) -> None:
        """Stay at the step shown."""
        self._controller().pause()
        self.changed.emit()

    def stop(self) -> None:
        """Show all layers again, whatever their time."""
        controller = self._controller()
        controller.pause()
        controller.setNavigationMode(controller.NavigationMode.NavigationOff)

    def _set_up(self, controller: QgsTemporalNavigationObject, timeline: Timeline) -> None:
        extent, frame = timeline.extent(self._first, self._last), timeline.frame()
        controller.pause()
        controller.setTemporalRangeCumulative(False)
        controller.setFrameDuration(frame)
        controller.setTemporalExtents(extent)
        controller.setNavigationMode(controller.NavigationMode.Animated)
        times = QgsProject.instance().timeSettings()  # QGIS's own panel reads these when the project is opened
        times.setTemporalRange(extent)
        times.setTimeStep(frame.originalDuration())
        times.setTimeStepUnit(frame.originalUnit())
