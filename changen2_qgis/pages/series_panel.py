"""Watch a synthesized series: play it, step through it, swipe between two images, detect the change in a pair."""

from __future__ import annotations

from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from ..icons import own_icon, qgis_icon
from ..series_results import SeriesGroup, series_groups
from ..swipe_tool import Side, Swipe
from ..temporal import SeriesPlayer
from ..widgets.tool_button import tool_button
from .group_panel import GroupPanel


class SeriesPanel(GroupPanel):
    """A panel for series; hidden while there is none in the project.

    Signals:
        detect_clicked: carries the image shown and the next, to be given to the Detect page.
    """

    detect_clicked = pyqtSignal(object, object)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__("Series", "The series to look at; each run is a group in the Layers panel", parent)
        self.player = SeriesPlayer(canvas, self)
        self._swiping = Swipe(canvas, self)
        self.play = QPushButton(self)
        self.back = tool_button(self, qgis_icon("temporal_navigation/previous"), "Show the image before")
        self.forward = tool_button(self, qgis_icon("temporal_navigation/next"), "Show the next image")
        self.all = tool_button(self, qgis_icon("mTemporalNavigationOff"), "Show all layers, whatever their time")
        self.position = QLabel(self)
        self.position.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.detect = QPushButton(own_icon("detect"), "Detect on this pair", self)
        self.swipe.setToolTip("Compare the image shown and the next with a divider (keys , and .)")
        self.swipe.setAccessibleName(self.swipe.toolTip())
        self._lay_out()
        self._connect()
        self.follow_project()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        for button in (self.back, self.play, self.forward, self.all):
            row.addWidget(button)
        row.addWidget(self.position, 1)
        self.column.addLayout(row)
        self.column.addWidget(self.detect)

    def _connect(self) -> None:
        self.play.clicked.connect(self._play)
        self.back.clicked.connect(lambda: self._step(-1))
        self.forward.clicked.connect(lambda: self._step(1))
        self.all.clicked.connect(self.player.stop)
        self.player.changed.connect(self._show_position)
        self.detect.clicked.connect(self._detect)
        self.swipe_clicked.connect(self._swipe)
        self._swiping.ended.connect(lambda: self.swipe.setChecked(False))

    def groups(self) -> list[SeriesGroup]:
        """The series in the project that have images."""
        return [group for group in series_groups(QgsProject.instance()) if group.image_steps]

    def refresh(self, newest: bool = False) -> None:
        """Read the series from the project; images of the chosen one may have gone."""
        super().refresh(newest)
        self._prepare_player()

    def show_current(self) -> None:
        """Start anew on the chosen series; the map stays as it is until Play or a step."""
        group = self.current()
        if self._swiping.active:
            self._swiping.stop()
        self.choice.setToolTip(group.name if group is not None else "")
        if self.player.on:
            self.player.stop()
        self._prepare_player()

    def shut_down(self) -> None:
        """Leave the canvas as it was before; for the end of the dock."""
        self._swiping.stop()
        if self.player.on:
            self.player.stop()

    def _prepare_player(self) -> None:
        group = self.current()
        steps = group.image_steps if group is not None else []
        shown = self.player.step
        if steps:
            self.player.show_series(group.timeline, steps[0], steps[-1])
            if shown is not None and not self.player.on:  # the first or the last image has gone
                self.player.go_to(shown)
        else:
            self.player.show_series(None)
        self._show_position()

    def _play(self) -> None:
        if self.player.playing:
            self.player.pause()
        else:
            self._swiping.stop()
            self.player.play()

    def _step(self, by: int) -> None:
        """One image on or back; the first step shows the first image."""
        group = self.current()
        if group is None:
            return
        steps = group.image_steps
        at = self.player.step
        if at is None:
            wanted = steps[0] if by > 0 else steps[-1]
        else:
            others = [step for step in steps if (step > at if by > 0 else step < at)]
            wanted = (others[0] if by > 0 else others[-1]) if others else at
        self.player.pause()
        self.player.go_to(wanted)
        if self._swiping.active:
            self._compare()

    def _pair_step(self) -> int:
        """The step whose image and the next are compared: the one shown, else the first."""
        group = self.current()
        steps = group.image_steps
        at = self.player.step
        return steps[0] if at is None else at

    def _swipe(self) -> None:
        if self._swiping.active:
            self._swiping.stop()
        elif self._compare():
            self.player.pause()

    def _compare(self) -> bool:
        group = self.current()
        pair = group.pair(self._pair_step()) if group is not None else None
        self.swipe.setChecked(pair is not None)
        if pair is None:
            self.refused.emit("This series has only one image left. Add the run to the project again.")
            return False
        self._swiping.start(*(Side.of(image) for image in pair))
        return True

    def _detect(self) -> None:
        group = self.current()
        pair = group.pair(self._pair_step()) if group is not None else None
        if pair is None:
            self.refused.emit("This series has only one image left. Add the run to the project again.")
        else:
            self._swiping.stop()
            self.detect_clicked.emit(*pair)

    def _show_position(self) -> None:
        """Say which image is shown; offer what is possible from there."""
        group = self.current()
        steps = group.image_steps if group is not None else []
        if not steps:
            return
        at, playing = self.player.step, self.player.playing
        self.play.setText("Pause" if playing else "Play")
        self.play.setIcon(qgis_icon(f"temporal_navigation/{'pause' if playing else 'forward'}"))
        self.play.setToolTip("Stay at this image" if playing else "Show the images one after the other on the map")
        self.back.setEnabled(at is None or at > steps[0])
        self.forward.setEnabled(at is None or at < steps[-1])
        self.all.setEnabled(at is not None)
        if at is None:
            self.position.setText("1 image" if len(steps) == 1 else f"{len(steps)} images")
        else:
            self.position.setText(f"{at} · {group.timeline.date(at)}")
            self.position.setToolTip(f"Image {at} of {steps[-1]}")
        pair = group.pair(self._pair_step())
        self.detect.setEnabled(pair is not None)
        self.swipe.setEnabled(pair is not None)
        if pair is not None:
            self.detect.setToolTip(f"Look for change between {pair[0].name()} and {pair[1].name()} on the Detect page")
