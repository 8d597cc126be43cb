"""The Models page: which models there are, what each is for, and getting those that are not here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qgis.core import Qgis
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QStandardPaths
from qgis.PyQt.QtGui import QShowEvent, QTextOption
from qgis.PyQt.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from ..backend import Backend
from ..background import BackgroundCall, message_of
from ..message_bar import tell
from ..words import describe_bytes, describe_seconds
from ..worker_client import Callbacks, Progress
from .consent import ask_consent
from .model_description import Card, describe_card
from .model_list import ModelList
from .run_bar import RunBar

WEIGHTS = "Weights (*.pth *.pt *.bin *.ckpt *.safetensors);;All files (*)"

STAGES = {
    "queue": "Waiting for another run of Changen2",
    "wait": "Waiting for another program that is downloading it",
    "download": "Downloading",
    "check": "Checking the file",
    "verify": "Checking the weights",
}


class ModelsPage(QWidget):
    """A list of models, the description of the chosen one, and what can be done with it.

    Args:
        iface: QGIS's window, for its message bar.
        backend: asked for the models, and to get them.
    """

    def __init__(self, iface: QgisInterface, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._iface = iface
        self._backend = backend
        self._look: BackgroundCall | None = None
        self._job: BackgroundCall | None = None
        self.models = ModelList(self)
        self.about = QTextBrowser(self)
        self.about.setOpenExternalLinks(True)
        self.about.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)  # digests are one long word
        self.about.setToolTip("What the chosen model is for, and under which licence")
        self.bar = RunBar("Download", "Fetch the weights from their authors' repository and install them", self)
        self.bar.cancel.setToolTip("Stop; nothing half-done is kept but what was downloaded, which the next try uses")
        self.import_file = QPushButton("Import file…", self)
        self.import_file.setToolTip("Install the model from a file of weights that is already on this machine")
        self.verify = QPushButton("Verify", self)
        self.verify.setToolTip("Check that the weights are still, byte for byte, those that were installed")
        self._lay_out()
        self._connect()
        self._show_chosen()

    def _lay_out(self) -> None:
        list_label, about_label = QLabel("Models", self), QLabel("About the chosen model", self)
        list_label.setBuddy(self.models)
        about_label.setBuddy(self.about)
        buttons = QHBoxLayout()
        buttons.addWidget(self.import_file)
        buttons.addWidget(self.verify)
        column = QVBoxLayout(self)
        column.addWidget(list_label)
        column.addWidget(self.models, 1)
        column.addWidget(about_label)
        column.addWidget(self.about, 1)
        column.addWidget(self.bar)
        column.addLayout(buttons)

    def _connect(self) -> None:
        self.models.chosen.connect(self._show_chosen)
        self.bar.run_clicked.connect(self._download)
        self.bar.cancel_clicked.connect(self._cancel)
        self.import_file.clicked.connect(self._import)
        self.verify.clicked.connect(self._verify)
        self._backend.known_models.changed.connect(self._show_models)

    def showEvent(self, event: QShowEvent) -> None:
        """Look again whenever the page is shown: models also come and go by the terminal."""
        super().showEvent(event)
        self.refresh()

    # What there is

    def refresh(self) -> None:
        """Ask the backend which models there are."""
        if self._look is not None:
            return
        self._look = BackgroundCall("Models", lambda task: self._backend.request("models", {}), quiet=True)
        self._look.failed.connect(lambda error: self.bar.say(message_of(error)))
        for over in (self._look.done, self._look.failed, self._look.cancelled):
            over.connect(self._forget_look)
        self._look.start()

    def _forget_look(self, *_: Any) -> None:
        self._look = None

    def _show_models(self, cards: list[Card]) -> None:
        self.models.show_cards(cards)
        self._show_chosen()

    def _show_chosen(self) -> None:
        card = self.models.card()
        text = describe_card(card) if card else ""
        if text != self.about.property("shown"):  # a refresh must not scroll what is being read
            self.about.setHtml(text)
            self.about.setProperty("shown", text)
        # Only what its authors published is to be had from them; a model that was trained here is no other's.
        idle, published = self._job is None, bool(card) and bool(card.get("source"))
        self.bar.run.setEnabled(idle and published)
        self.bar.run.setText("Download again" if published and card.get("installed") else "Download")
        self.import_file.setEnabled(idle and published)
        self.verify.setEnabled(idle and bool(card) and bool(card.get("installed")))

    # What can be done

    def _download(self) -> None:
        card = self.models.card()
        if self._agreed(card):
            self._install("download_model", card, {})

    def _import(self) -> None:
        card = self.models.card()
        folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DownloadLocation)
        path, _ = QFileDialog.getOpenFileName(self, f"File of weights for {_title(card)}", folder, WEIGHTS)
        if path and self._agreed(card):
            self._install("import_model", card, {"path": path})

    def _agreed(self, card: Card) -> bool:
        return not card.get("noncommercial") or bool(card.get("consent")) or ask_consent(card, self)

    def _install(self, method: str, card: Card, params: dict[str, str]) -> None:
        use = " Choose it as Model on the Detect page." if _detects(card) else ""
        request = {"name": card["name"], "accept_licence": bool(card.get("noncommercial")), **params}
        self._start(f"Install {_title(card)}", method, request, f"{_title(card)} is installed.{use}")

    def _verify(self) -> None:
        card = self.models.card()
        success = f"{_title(card)} is unchanged: its SHA-256 is as it was."
        self._start(f"Verify {_title(card)}", "verify_model", {"name": card["name"]}, success)

    def _start(self, description: str, method: str, params: dict[str, Any], success: str) -> None:
        """Run a request under the progress bar; then tell how it went and look again."""
        warnings: list[str] = []
        self._job = BackgroundCall(description, lambda task: self._request(task, method, params, warnings), quiet=True)
        self._job.progressChanged.connect(self.bar.set_progress)
        self._job.said.connect(self.bar.say)
        self._job.done.connect(lambda _: self._end(lambda: self._succeed(success, warnings)))
        self._job.failed.connect(
            lambda error: self._end(lambda: tell(self._iface, message_of(error), Qgis.MessageLevel.Warning))
        )
        self._job.cancelled.connect(lambda: self._end(lambda: tell(self._iface, "Cancelled.")))
        self.bar.set_running(True)
        self.bar.say("Starting…")
        self._show_chosen()
        self._job.start()

    def _request(self, task: BackgroundCall, method: str, params: dict[str, Any], warnings: list[str]) -> Any:
        """On a pool thread."""

        def log(level: str, message: str) -> None:
            if level == "warning":
                warnings.append(message)

        callbacks = Callbacks(lambda progress: _report(task, progress), log, task.isCanceled)
        return self._backend.request(method, params, callbacks)

    def _end(self, report: Callable[[], None]) -> None:
        self._job = None
        self.bar.set_running(False)
        self.bar.say("")
        self._show_chosen()
        report()
        self.refresh()

    def _succeed(self, text: str, warnings: list[str]) -> None:
        level = Qgis.MessageLevel.Warning if warnings else Qgis.MessageLevel.Success
        tell(self._iface, " ".join([text, *warnings]), level)

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()

    def shut_down(self) -> None:
        """Stop what this page has started; for the end of the dock."""
        for call in (self._look, self._job):
            if call is not None:
                call.abandon()


def _detects(card: Card) -> bool:
    return card.get("task") == "detect" and not card.get("training_start")


def _title(card: Card) -> str:
    return str(card.get("title") or card["name"])


def _report(task: BackgroundCall, progress: Progress) -> None:
    """From the pool thread to the bar: "Downloading: 120 MB of 400 MB, about 20 s left"."""
    share = progress.done / progress.total if progress.total else 0.0
    if share >= 1:
        task.say("Installing…" if progress.stage != "verify" else "Checked")
        return
    left = "" if progress.eta_s is None else f", about {describe_seconds(progress.eta_s)} left"
    amount = f": {describe_bytes(progress.done)} of {describe_bytes(progress.total)}" if progress.total else ""
    task.setProgress(100 * share)
    task.say(f"{STAGES.get(progress.stage, progress.stage)}{amount}{left}")
