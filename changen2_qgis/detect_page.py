"""The Detect page: settings, estimate, run, and the results of earlier runs."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsCsException, QgsProcessingContext, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from .backend import Backend
from .background import AlgorithmRun, BackgroundCall, message_of
from .detect_form import DetectForm
from .errors import PluginError
from .icons import own_icon
from .processing.detect_change import DetectChange
from .result_panel import ResultPanel
from .results import DetectionGroup, add_detection_group, find_group
from .run_bar import RunBar, describe_estimate
from .run_folders import is_unfinished, new_run_folder, remove_unfinished, runs_folder, threshold_folder
from .worker_client import Hello

ESTIMATE_DELAY_MS = 400
"""Settings come in bursts (a dragged map, a typed number); ask the backend once after each."""


class DetectPage(QWidget):
    """Puts the form, the run bar and the result panel to work together.

    Args:
        iface: QGIS's window: its canvas and message bar.
        backend: shared with the algorithms; asked for models, devices and estimates.

    Signals:
        backend_failed: the backend did not start; carries the message.
    """

    backend_failed = pyqtSignal(str)

    def __init__(self, iface: QgisInterface, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._iface = iface
        self._backend = backend
        self._run: AlgorithmRun | None = None
        self._calls: dict[str, BackgroundCall] = {}  # kept until they are over, one of each kind
        self._estimate_text = ""
        self.form = DetectForm(iface.mapCanvas(), self)
        self.bar = RunBar("Detect change", "Find what changed between the two images", self)
        self.results = ResultPanel(iface.mapCanvas(), self)
        self.sample = QPushButton(own_icon("changen2"), "Try it on the sample scene", self)
        self.sample.setToolTip("Make two small simulated images, add them to the project and choose them here")
        self.empty = self._empty_state()
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(ESTIMATE_DELAY_MS)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._lay_out()
        self._connect()
        self._follow_project()
        self._settings_changed()

    def _empty_state(self) -> QWidget:
        box = QFrame(self)
        text = QLabel("Add two images of one place, taken at different times, or:", box)
        text.setWordWrap(True)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(text)
        column.addWidget(self.sample)
        return box

    def _lay_out(self) -> None:
        scroll = QScrollArea(self)
        scroll.setWidget(self.form)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(self)
        column.addWidget(self.empty)
        column.addWidget(scroll, 1)
        column.addWidget(self.bar)
        column.addWidget(self.results)

    def _connect(self) -> None:
        self.form.changed.connect(self._settings_changed)
        self.form.failed.connect(self._warn)
        self.bar.run_clicked.connect(self._detect)
        self.bar.cancel_clicked.connect(self._cancel)
        self.results.apply_clicked.connect(self._apply_threshold)
        self.results.refused.connect(self._warn)
        self.sample.clicked.connect(self._make_sample)
        self._delay.timeout.connect(self._estimate)
        self._later.timeout.connect(self._follow_project)
        project = QgsProject.instance()
        for signal in (project.layersAdded, project.layersRemoved, project.cleared):
            signal.connect(self._project_changed)

    # The project and the backend

    def meet_backend(self) -> None:
        """Start the backend in the background and show its models and devices."""
        call = self._call("hello", "Start the backend", lambda task: self._backend.hello(task.isCanceled))
        call.done.connect(self._show_backend)
        call.failed.connect(lambda error: self.backend_failed.emit(message_of(error)))
        self._settings_changed()

    def _show_backend(self, hello: Hello) -> None:
        self.form.set_backend(hello)
        self._settings_changed()

    def _project_changed(self, *_: Any) -> None:
        self._later.start(0)  # once for many layers, and after the lists of layers have followed

    def _follow_project(self) -> None:
        """Offer the sample where there is nothing to compare; choose for the user where there is no choice."""
        rasters = [layer for layer in QgsProject.instance().mapLayers().values() if isinstance(layer, QgsRasterLayer)]
        self.empty.setVisible(len(rasters) < 2)
        self.form.choose_only_pair()

    def _call(self, kind: str, description: str, function: Any) -> BackgroundCall:
        """Call the backend in the background; the call is kept until it is over."""
        call = BackgroundCall(description, function, quiet=True)
        call.failed.connect(lambda error: self.bar.say(message_of(error)))
        for over in (call.done, call.failed, call.cancelled):
            over.connect(lambda *_: self._calls.pop(kind, None))
        self._calls[kind] = call
        return call.start()

    # Before a run

    def _settings_changed(self) -> None:
        if self.bar.running:
            return
        problem = self.form.problem()
        self.bar.run.setEnabled(not problem)
        waiting = "Starting the backend…" if "hello" in self._calls else self._estimate_text
        self.bar.say(problem or waiting)
        if not problem:
            self._delay.start()

    def _estimate(self) -> None:
        if self.bar.running or self.form.problem():
            return
        if self._calls:  # one question at a time; ask this one a little later
            self._delay.start()
            return
        try:
            request = (
                DetectChange(self._backend).create().estimate_request(self.form.parameters(), QgsProcessingContext())
            )
        except (PluginError, QgsCsException) as error:
            self._estimate_text = message_of(error)
            self.bar.say(self._estimate_text)
            return
        call = self._call("estimate", "Estimate", lambda task: self._backend.request("estimate", request))
        call.done.connect(self._show_estimate)

    def _show_estimate(self, estimate: dict[str, Any]) -> None:
        self._estimate_text = "\n".join([describe_estimate(estimate), *estimate.get("warnings", ())])
        if not self.bar.running and not self.form.problem():
            self.bar.say(self._estimate_text)

    def _make_sample(self) -> None:
        folder = runs_folder(QgsProject.instance()) / "Sample scene"
        files = {date: str(folder / f"{date}.tif") for date in ("before", "after")}
        if all(os.path.exists(path) for path in files.values()):  # drawn on an earlier day
            self._open_sample({"outputs": files})
            return
        self.sample.setEnabled(False)
        self.bar.say("Drawing the sample scene…")
        request = {"out_dir": str(folder)}
        call = self._call("sample", "Sample scene", lambda task: self._backend.request("sample", request))
        call.done.connect(self._open_sample)
        for over in (call.done, call.failed, call.cancelled):
            over.connect(lambda *_: self.sample.setEnabled(True))

    def _open_sample(self, sample: dict[str, Any]) -> None:
        for date, picker in (("before", self.form.before), ("after", self.form.after)):
            layer = QgsRasterLayer(sample["outputs"][date], f"Sample {date}", "gdal")
            QgsProject.instance().addMapLayer(layer)
            picker.set_layer(layer)
        self._iface.setActiveLayer(layer)
        self._iface.zoomToActiveLayer()

    # A run

    def _detect(self) -> None:
        before, after = self.form.before.layer(), self.form.after.layer()
        now = datetime.now()
        folder = new_run_folder(QgsProject.instance(), f"detect {before.name()} to {after.name()}", now)
        parameters = {**self.form.parameters(), "OUTPUT_FOLDER": str(folder)}
        self.form.remember()
        self._run_detection(parameters, f"Change {now:%Y-%m-%d %H:%M}")

    def _run_detection(self, parameters: dict[str, Any], title: str) -> None:
        self._start(
            AlgorithmRun("changen2:detectchange", parameters, self),
            lambda outputs, warnings: self._show_result(outputs, warnings, title, parameters["THRESHOLD"]),
            lambda text, level: self._give_up(text, level, parameters, title),
        )

    def _give_up(self, text: str, level: Qgis.MessageLevel, parameters: dict[str, Any], title: str) -> None:
        """Tell of an interrupted run, and offer to go on with what it has finished."""
        folder = Path(parameters["OUTPUT_FOLDER"])
        if not is_unfinished(folder):
            remove_unfinished(folder)
            self._tell(text, level)
            return
        bar = self._iface.messageBar()
        item = bar.createMessage("Changen2", f"{text} The finished part is kept.")
        go_on = QPushButton("Go on", item)
        go_on.setObjectName("changen2_go_on")
        go_on.setToolTip("Run the rest with the same settings")
        go_on.clicked.connect(lambda: bar.popWidget(item))
        go_on.clicked.connect(lambda: self._run_detection({**parameters, "RESUME": True}, title))
        item.layout().addWidget(go_on)
        bar.pushWidget(item, level, 0)

    def _start(self, run: AlgorithmRun, show: Any, give_up: Any) -> None:
        """Run an algorithm under the progress bar.

        Args:
            run: not yet started.
            show: called with its outputs and warnings.
            give_up: called with a message and its level where it fails or is cancelled.
        """
        self._run = run
        self._delay.stop()
        self._set_running(True)
        self.bar.say("Starting…")
        run.progressed.connect(self.bar.set_progress)
        run.stage_changed.connect(self.bar.say)
        run.done.connect(lambda outputs, warnings: self._end(lambda: show(outputs, warnings)))
        run.failed.connect(lambda message: self._end(lambda: give_up(message, Qgis.MessageLevel.Warning)))
        run.cancelled.connect(lambda: self._end(lambda: give_up("Cancelled.", Qgis.MessageLevel.Info)))
        run.start()

    def _end(self, report: Any) -> None:
        if self._run is not None:
            self._run.deleteLater()
            self._run = None
        self._set_running(False)
        self._settings_changed()
        try:
            report()
        except OSError as error:  # an output that has gone, a full disk
            self._warn(str(error))

    def _set_running(self, running: bool) -> None:
        self.form.setEnabled(not running)
        self.results.setEnabled(not running)
        self.bar.set_running(running)

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()

    def _show_result(self, outputs: dict[str, Any], warnings: list[str], title: str, threshold: float) -> None:
        paths = _paths_by_role(outputs)
        node = add_detection_group(QgsProject.instance(), paths, title, _summary(outputs), threshold)
        self.results.refresh(newest=True)
        group = self.results.current()
        if group is not None and group.count == 0:
            found = (
                f"No change found from probability {threshold:.2f} up. "
                "Move the threshold under Result to see weaker signs."
            )
            level = Qgis.MessageLevel.Info
            warnings = [warning for warning in warnings if not warning.startswith("No change found")]
        else:
            found, level = f"{node.name()}.", Qgis.MessageLevel.Success
        self._tell(" ".join([found, *warnings]), Qgis.MessageLevel.Warning if warnings else level)

    def _apply_threshold(self, group: DetectionGroup, threshold: float) -> None:
        probability = group.layer("change_probability")
        if probability is None:
            self._warn("This result has no probability layer any more. Run the detection again.")
            return
        folder = threshold_folder(Path(group.folder), threshold)
        parameters = {
            "PROBABILITY": probability,
            "THRESHOLD": threshold,
            "MIN_AREA": self.form.min_area.value(),
            "OUTPUT_FOLDER": str(folder),
        }
        self._start(
            AlgorithmRun("changen2:vectorizechange", parameters, self),
            lambda outputs, warnings: self._show_other_threshold(group.id, outputs, threshold),
            self._tell,
        )

    def _show_other_threshold(self, group_id: str, outputs: dict[str, Any], threshold: float) -> None:
        group = find_group(QgsProject.instance(), group_id)
        if group is None:
            self._warn(f"The result is no longer in the project. Its new files are in {outputs}.")
            return
        kept = group.replace(_paths_by_role(outputs), threshold, _summary(outputs))
        self.results.refresh(newest=False)
        self.results.show_current()
        marks = f" {kept} review marks were kept." if kept else ""
        self._tell(f"{group.name} from probability {threshold:.2f} up.{marks}", Qgis.MessageLevel.Success)

    def shut_down(self) -> None:
        """Stop everything that this page has started; for the dock's end."""
        self._cancel()
        for call in list(self._calls.values()):
            call.cancel()
        self.form.extent.drawing.remove()
        self.results.review.show_result(None)

    def _tell(self, text: str, level: Qgis.MessageLevel = Qgis.MessageLevel.Info) -> None:
        self._iface.messageBar().pushMessage("Changen2", text, level, 0 if level == Qgis.MessageLevel.Warning else 8)

    def _warn(self, text: str) -> None:
        self._tell(text, Qgis.MessageLevel.Warning)


def _summary(outputs: dict[str, Any]) -> dict[str, Any]:
    return {"polygons": outputs["POLYGON_COUNT"], "change_area_m2": outputs["CHANGE_AREA"]}


def _paths_by_role(outputs: dict[str, Any]) -> dict[str, str]:
    """The algorithm's outputs under the names that results have."""
    roles = {
        "PROBABILITY": "change_probability",
        "CHANGE": "change",
        "POLYGONS": "polygons",
        "SEMANTIC_BEFORE": "semantic_before",
        "SEMANTIC_AFTER": "semantic_after",
        "CHANGE_CLASS": "change_class",
    }
    return {role: outputs[name] for name, role in roles.items() if outputs.get(name)}
