"""What the pages that run something share: settings, estimate, run, cancel, go on, and the sample scene."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsCsException, QgsMapLayer, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface, QgsMessageBarItem
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from ..backend import Backend
from ..background import AlgorithmRun, BackgroundCall, message_of
from ..errors import PluginError
from ..icons import own_icon, qgis_icon
from ..layer_metadata import read_manifest
from ..message_bar import tell
from ..run_folders import Run, is_unfinished, read_run, remove_unfinished, runs_folder
from ..words import describe_shift
from ..worker_client import Callbacks, Hello
from .run_bar import RunBar

ESTIMATE_DELAY_MS = 400
"""Settings come in bursts (a dragged map, a typed number); ask the backend once after each."""

Show = Callable[[dict[str, Any], list[str]], None]
"""Called with the outputs and warnings of a run."""

GiveUp = Callable[[str, Qgis.MessageLevel], None]
"""Called with a message where a run fails or is cancelled."""


class RunPage(QWidget):
    """A form, a run bar and the results below; subclasses say what is asked, run and shown.

    Args:
        iface: QGIS's window: its canvas and message bar.
        backend: shared with the algorithms; asked for models, devices and estimates.
        form: the settings, with `changed`, `failed`, `problem` and `set_backend`.
        bar: runs and cancels.
        results: shown below the bar.
        invitation: for an empty project: text above the button, and the button's tooltip.

    Signals:
        backend_failed: the backend did not start; carries the message.
    """

    backend_failed = pyqtSignal(str)

    def __init__(
        self,
        iface: QgisInterface,
        backend: Backend,
        form: QWidget,
        bar: RunBar,
        results: QWidget,
        invitation: tuple[str, str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._iface = iface
        self._backend = backend
        self._scratch = Path(tempfile.mkdtemp(prefix="changen2-"))  # for estimates and previews
        # A file that a task holds or writes meanwhile is no reason to fail at the end: it stays, as others of its kind.
        self._drop_scratch = weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self._run: AlgorithmRun | None = None
        self._project_left = False  # since the run was started
        self._calls: dict[str, BackgroundCall] = {}  # kept until they are over, one of each kind
        self._offers: list[QgsMessageBarItem] = []  # messages with a button of this page
        self._estimate_text = ""
        self.form, self.bar, self.results = form, bar, results
        self.sample = QPushButton(own_icon("changen2"), "Try it on the sample scene", self)
        self.empty = self._empty_state(*invitation)
        self._delay = _single_shot(self, self._estimate, ESTIMATE_DELAY_MS)
        self._later = _single_shot(self, self._follow_project)
        self._lay_out()
        self._connect()
        self._follow_project()
        self._settings_changed()

    # What subclasses say

    def needs_sample(self, rasters: list[QgsRasterLayer]) -> bool:
        """Whether a project with these rasters is offered the sample scene."""
        raise NotImplementedError

    def choose_layers(self) -> None:
        """Choose for the user where there is no choice."""

    def ask_estimate(self, folder: Path) -> tuple[str, dict[str, Any], list[str]]:
        """The backend's method that estimates, its parameters, and what is to be said beside the estimate.

        Args:
            folder: takes what the backend is to look at and is in no file.

        Raises:
            PluginError: why there can be none, for the user.
        """
        raise NotImplementedError

    def describe_estimate(self, estimate: dict[str, Any]) -> str:
        """What the backend estimates, in one line."""
        raise NotImplementedError

    def run_clicked(self) -> None:
        """Start a run with the form's settings."""
        raise NotImplementedError

    def open_sample(self, paths: dict[str, str]) -> None:
        """Add what this page needs of the sample scene to the project, and choose it."""
        raise NotImplementedError

    def load_settings(self, run: Run) -> list[str]:
        """Fill the form with the settings of a run, see `run_settings`; what could not be is said."""
        raise NotImplementedError

    # Building

    def _empty_state(self, text: str, tip: str) -> QWidget:
        box = QFrame(self)
        label = QLabel(text, box)
        label.setWordWrap(True)
        self.sample.setToolTip(tip)
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 4)
        column.addWidget(label)
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
        self.bar.run_clicked.connect(self.run_clicked)
        self.bar.cancel_clicked.connect(self._cancel)
        self.sample.clicked.connect(self._make_sample)
        project = QgsProject.instance()
        for signal in (project.layersAdded, project.layersRemoved, project.cleared):
            signal.connect(self._project_changed)
        project.cleared.connect(self._leave_project)

    def run_again(self, run: Run) -> None:
        """Offer the settings of an earlier run, for the user to look at, change and start."""
        if "hello" in self._calls:  # which models there are is not known yet
            self._calls["hello"].done.connect(lambda _: self.run_again(run))
            return
        if not self._is_free():
            return
        try:
            missing = self.load_settings(run)
        except PluginError as error:
            self._warn(str(error))
        except (OSError, ValueError, KeyError) as error:
            self._warn(f"The settings of {run.folder.name} cannot be read: {error}")
        else:
            if missing:
                self._warn(" ".join(missing))

    def go_on(self, run: Run) -> None:
        """Do the rest of a run that was interrupted, perhaps on another day."""
        self._go_on_in(run.folder)

    def _go_on_in(self, folder: Path) -> bool:
        """Do the rest of the run in a folder, from what was noted there; tell whether it was started."""
        return self._start_resumable(
            "changen2:continuerun",
            {"RUN_FOLDER": str(folder)},
            folder,
            lambda outputs, warnings: self._add_to_map(folder, warnings),
        )

    def _add_to_map(self, folder: Path, warnings: list[str]) -> None:
        from .run_list import add_run  # with all that shows series, which opening the dock need not wait for

        run = read_run(folder)
        if run is None:
            raise FileNotFoundError(f"The results of {folder} have gone.")
        node = add_run(QgsProject.instance(), run)
        self.results.refresh(newest=True)
        self._tell_result(f"{node.name()}.", folder, warnings)

    # The project and the backend

    def meet_backend(self) -> None:
        """Start the backend in the background and show its models and devices, unless that is under way."""
        if "hello" in self._calls:
            return
        call = self._call("hello", "Start the backend", lambda task: self._backend.hello(task.isCanceled))
        call.done.connect(self._show_backend)
        call.failed.connect(lambda error: self.backend_failed.emit(message_of(error)))
        self._settings_changed()

    def _show_backend(self, hello: Hello) -> None:
        self.form.set_backend(hello)
        self._settings_changed()

    def _project_changed(self, *_: Any) -> None:
        self._later.start()  # once for many layers, and after the lists of layers have followed

    def _leave_project(self) -> None:
        self._project_left = True  # opening another one clears the former, too

    def _follow_project(self) -> None:
        rasters = [layer for layer in QgsProject.instance().mapLayers().values() if isinstance(layer, QgsRasterLayer)]
        self.empty.setVisible(self.needs_sample(rasters))
        self.choose_layers()

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
            method, request, notes = self.ask_estimate(self._scratch / "estimate")
        except (PluginError, QgsCsException) as error:
            self._estimate_text = message_of(error)
            self.bar.say(self._estimate_text)
            return
        call = self._call(
            "estimate",
            "Estimate",
            lambda task: self._backend.request(method, request, Callbacks(cancelled=task.isCanceled)),
        )
        call.done.connect(lambda estimate: self._show_estimate(estimate, notes))

    def _show_estimate(self, estimate: dict[str, Any], notes: list[str]) -> None:
        self._estimate_text = "\n".join([self.describe_estimate(estimate), *notes, *estimate.get("warnings", ())])
        if not self.bar.running and not self.form.problem():
            self.bar.say(self._estimate_text)

    # The sample scene

    def _make_sample(self) -> None:
        folder = runs_folder(QgsProject.instance()) / "Sample scene"
        names = ("before", "after", "labels_before", "change_reference")
        files = {name: str(folder / f"{name}.tif") for name in names}
        if all(os.path.exists(path) for path in files.values()):  # drawn on an earlier day
            self.open_sample(files)
            return
        self.sample.setEnabled(False)
        self.bar.say("Drawing the sample scene…")
        request = {"out_dir": str(folder)}
        call = self._call("sample", "Sample scene", lambda task: self._backend.request("sample", request))
        call.done.connect(lambda sample: self.open_sample(sample["outputs"]))
        for over in (call.done, call.failed, call.cancelled):
            over.connect(lambda *_: self.sample.setEnabled(True))

    def _show_on_map(self, layer: QgsMapLayer) -> None:
        self._iface.setActiveLayer(layer)
        self._iface.zoomToActiveLayer()

    # A run

    def _is_free(self) -> bool:
        """Whether no run is in progress; where one is, the user is told."""
        if self.bar.running:
            self._warn("Wait until this run is finished, or cancel it.")
        return not self.bar.running

    def _start(self, run: AlgorithmRun, show: Show, give_up: GiveUp) -> bool:
        """Run an algorithm under the progress bar, unless another one is in progress.

        Args:
            run: not yet started.
            show: called with its outputs and warnings.
            give_up: called with a message and its level where it fails or is cancelled.

        Returns:
            Whether it was started.
        """
        if not self._is_free():  # QGIS's task still uses what the run in progress holds
            run.deleteLater()
            return False
        self._run = run
        self._project_left = False
        self._delay.stop()
        if "estimate" in self._calls:  # the backend does one thing after the other
            self._calls["estimate"].cancel()
        self._set_running(True)
        self.bar.say("Starting…")
        run.progressed.connect(self.bar.set_progress)
        run.stage_changed.connect(self.bar.say)
        run.done.connect(lambda outputs, warnings: self._end(lambda: show(outputs, warnings)))
        run.failed.connect(lambda message: self._end(lambda: give_up(message, Qgis.MessageLevel.Warning)))
        run.cancelled.connect(lambda: self._end(lambda: give_up("Cancelled.", Qgis.MessageLevel.Info)))
        run.start()
        return True

    def _start_resumable(self, algorithm: str, parameters: dict[str, Any], folder: Path, show: Show) -> bool:
        """Run an algorithm that keeps what it has finished in a run folder, and offer to go on when it breaks off.

        Where another project is open when it ends, its results are offered instead of shown.
        """
        return self._start(
            AlgorithmRun(algorithm, parameters, self),
            lambda outputs, warnings: (
                self._offer_to_add(folder, warnings) if self._project_left else show(outputs, warnings)
            ),
            lambda text, level: self._offer_to_go_on(text, level, folder),
        )

    def _offer_to_go_on(self, text: str, level: Qgis.MessageLevel, folder: Path) -> None:
        if not is_unfinished(folder):
            remove_unfinished(folder)
            self._tell(text, level)
            return
        go_on = QPushButton("Continue")
        go_on.setObjectName("changen2_go_on")
        go_on.setToolTip("Run the rest with the same settings")
        # From the folder, not with the parameters: their layers may be gone by then.
        self._offer(f"{text} The finished part is kept.", level, go_on, lambda: self._go_on_in(folder))

    def _offer_to_add(self, folder: Path, warnings: list[str]) -> None:
        add = QPushButton(qgis_icon("mActionAddLayer"), "Add to map")
        add.setObjectName("changen2_add")
        add.setToolTip(f"Add the results to this project as a group of layers; they are in {folder}")
        text = "The run that was begun in another project is finished."  # the bar shows one line
        self._offer(
            text, Qgis.MessageLevel.Success, add, lambda: self._report(lambda: self._add_to_map(folder, warnings))
        )

    def _offer(self, text: str, level: Qgis.MessageLevel, button: QPushButton, act: Callable[[], bool]) -> None:
        """A message that stays, with a button, until what the button does has been done."""
        bar = self._iface.messageBar()
        item = bar.createMessage("Changen2", text)
        item.layout().addWidget(button)
        button.clicked.connect(lambda: act() and bar.popWidget(item))
        bar.pushWidget(item, level, 0)
        self._offers = [offer for offer in self._offers if not sip.isdeleted(offer)] + [item]

    def _end(self, report: Callable[[], None]) -> None:
        if self._run is not None:
            self._run.deleteLater()
            self._run = None
        self._set_running(False)
        self._settings_changed()
        self._report(report)

    def _report(self, report: Callable[[], None]) -> bool:
        """Show how a run has ended; tell whether that could be done."""
        try:
            report()
        except OSError as error:  # an output that has gone, a full disk
            self._warn(str(error))
            return False
        return True

    def _set_running(self, running: bool) -> None:
        self.form.setEnabled(not running)
        self.results.setEnabled(not running)
        self.bar.set_running(running)

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()

    def shut_down(self) -> None:
        """Stop everything that this page has started, and start nothing any more; for the dock's end."""
        for timer in (self._delay, self._later):
            timer.blockSignals(True)
        for task in (self._run, *self._calls.values()):
            if task is not None:
                task.abandon()
        for offer in self._offers:
            if not sip.isdeleted(offer):  # by the user, or once what it offers was done
                self._iface.messageBar().popWidget(offer)
        self.form.extent.remove()
        self.results.shut_down()
        self._drop_scratch()

    def _tell(self, text: str, level: Qgis.MessageLevel = Qgis.MessageLevel.Info) -> None:
        tell(self._iface, text, level)

    def _tell_result(
        self,
        found: str,
        folder: str | Path,
        warnings: list[str],
        level: Qgis.MessageLevel = Qgis.MessageLevel.Success,
    ) -> None:
        """Say what a run has found, how its images were aligned, and what to beware of."""
        aligned = describe_shift(read_manifest(folder).get("summary", {}))
        told = " ".join(filter(None, [found, aligned, *warnings]))
        self._tell(told, Qgis.MessageLevel.Warning if warnings else level)

    def _warn(self, text: str) -> None:
        self._tell(text, Qgis.MessageLevel.Warning)


def _single_shot(parent: QWidget, slot: Callable[[], None], milliseconds: int = 0) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
