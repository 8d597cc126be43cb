"""The Models page: what it lists and says, what it asks, and what the real worker answers."""

import threading

import pytest
from qgis.PyQt import sip
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QAbstractButton,
    QApplication,
    QFileDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QTextBrowser,
)

from changen2_qgis.dock import ChangeDock
from changen2_qgis.errors import BackendError, Cancelled
from changen2_qgis.known_models import KnownModels
from changen2_qgis.pages.model_description import describe_card
from changen2_qgis.worker_client import Hello, Progress

PATIENCE_MS = 120_000
TINY = {
    "name": "tiny",
    "title": "Tiny: building change",
    "task": "detect",
    "summary": "Finds buildings.",
    "classes": [],
    "gsd_min": 0.2,
    "gsd_max": 0.6,
    "gsd_native": 0.5,
    "licence": "CC-BY-SA-4.0",
    "installed": True,
    "embedded": True,
    "sha256": "6e" * 32,
}
BIG = {
    "name": "big",
    "title": "ChangeStar ViT-B: land cover",
    "task": "detect",
    "summary": "Says from which <class> to which.",
    "classes": [{"index": 0, "name": "water", "color": "#0045ff"}, {"index": 1, "name": "tree", "color": "#226126"}],
    "change_classes": [],
    "gsd_min": 0.25,
    "gsd_max": 0.5,
    "gsd_native": 0.5,
    "size_bytes": 399_738_120,
    "licence": "CC-BY-NC-SA-4.0",
    "licence_text": "You may not use them for anything commercial (https://example.org/licence).",
    "noncommercial": True,
    "consent": False,
    "installed": False,
    "embedded": False,
    "sha256": "",
    "source": "https://huggingface.co/someone/big",
    "reported_sha256": "ba" * 32,
}
START = {**BIG, "name": "start", "title": "A start", "training_start": True, "installed": True}
DRAWER = {**BIG, "name": "tiny", "title": "Drawer", "task": "synthesize", "noncommercial": False}
OWN = {
    **TINY,
    "name": "own",
    "title": "Solar farms: trained here",
    "embedded": False,
    "origin": "trained here from tiny",
    "threshold": 0.37,
    "measured": {"held out: change": {"f1": 0.812, "images": 4}, "note": "The held-out pairs also chose the step."},
}
HELLO = Hello(1, "0.1.0", 1, "2.13.0", ({"name": "cpu", "label": "CPU (2 cores)"},), (TINY, BIG, START, DRAWER))


class AnsweringBackend:
    """Stands in for a worker that installs what it is asked for, or refuses it."""

    def __init__(self):
        self.cards = {(card["task"], card["name"]): card for card in HELLO.models}
        self.asked = []
        self.refusal = None
        self.warning = ""
        self.wait_for_cancel = False
        self.known_models = KnownModels()

    def environment(self):
        return None

    def hello(self, cancelled=lambda: False):
        return HELLO

    def request(self, method, params, callbacks=None):
        if method == "models":
            self.known_models.tell(self.cards.values())
            return {"models": list(self.cards.values())}
        self.asked.append((method, dict(params)))
        if self.refusal is not None:
            raise self.refusal
        callbacks.progress(Progress("check", 120e6, 400e6, 20.0))
        while self.wait_for_cancel:
            if callbacks.cancelled():
                raise Cancelled
            threading.Event().wait(0.01)
        if self.warning:
            callbacks.log("warning", self.warning)
        key = ("detect", params["name"])
        self.cards[key] = {**self.cards[key], "installed": True, "consent": True, "sha256": "cd" * 32}
        return self.cards[key]


@pytest.fixture
def window(window):
    bar = window.iface.messageBar()
    window.said = lambda: bar.currentItem().text() if bar.currentItem() is not None else ""
    return window


@pytest.fixture
def open_page(window, settings, qtbot):
    """A function that opens the dock on its Models page."""

    def open_with(backend, patience=5000):
        dock = ChangeDock(window.iface, backend)
        opened.append(dock)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        qtbot.waitUntil(lambda: dock.detect.form.model.card() != {}, timeout=patience)
        dock.pages.setCurrentWidget(dock.models)
        page = dock.models.content
        qtbot.waitUntil(lambda: page.models.card() != {}, timeout=patience)
        page.dock = dock
        return page

    opened = []
    yield open_with
    for dock in opened:
        dock.shut_down()


@pytest.fixture
def backend():
    return AnsweringBackend()


@pytest.fixture
def page(open_page, backend):
    return open_page(backend)


def choose(page, title):
    (item,) = page.models.findItems(title, Qt.MatchFlag.MatchStartsWith | Qt.MatchFlag.MatchRecursive)
    page.models.setCurrentItem(item)


def listed(page):
    root = page.models.invisibleRootItem()
    groups = [root.child(row) for row in range(root.childCount())]
    return {
        group.text(0): [(m.text(0), m.text(1)) for m in map(group.child, range(group.childCount()))] for group in groups
    }


@pytest.fixture
def answer(monkeypatch):
    """A function that makes the next question be answered with a button; gives what was asked."""
    asked = []

    def press(text):
        def look():
            question = QApplication.activeModalWidget()
            if not isinstance(question, QMessageBox):
                QTimer.singleShot(20, look)
                return
            asked.append(question.text() + question.informativeText())
            default = question.defaultButton().text().replace("&", "")
            asked.append(f"default: {default}")
            (button,) = [b for b in question.findChildren(QPushButton) if b.text().replace("&", "") == text]
            button.click()

        QTimer.singleShot(0, look)
        return asked

    return press


def test_models_are_listed_by_task_with_their_state(page):
    assert listed(page) == {
        "Detect change": [
            ("Tiny: building change", "built in"),
            ("ChangeStar ViT-B: land cover", "no"),
            ("A start", "yes"),
        ],
        "Draw images of change": [("Drawer", "no")],
    }


def test_the_page_is_made_when_it_is_first_shown(window, settings, backend, qtbot):
    dock = ChangeDock(window.iface, backend)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    qtbot.waitUntil(dock.detect.isVisible)
    assert dock.models.content is None
    dock.pages.setCurrentWidget(dock.models)
    qtbot.waitUntil(lambda: dock.models.content is not None)
    dock.shut_down()


def test_a_description_says_all_there_is_to_know():
    text = describe_card(BIG)
    for part in ("0.25 to 0.5 m", "water", "#0045ff", "400", "anything commercial", "ba" * 32, "not verified"):
        assert part in text
    assert "&lt;class&gt;" in text  # what a card says is text, never markup
    assert '<a href="https://example.org/licence">' in text and '<a href="https://huggingface.co/someone/big">' in text


def test_a_description_of_an_installed_model_gives_both_digests():
    text = describe_card(
        {**BIG, "installed": True, "sha256": "cd" * 32, "source_sha256": "ef" * 32, "source_file": "b.pth"}
    )
    assert "cd" * 32 in text and "ef" * 32 in text and "b.pth" in text and "ba" * 32 in text


def test_a_description_of_a_model_that_was_trained_here_says_so_and_how_good_it_is():
    text = describe_card(OWN)
    for part in (
        "trained here from tiny",
        "held out: change: F1 0.812 (4 images)",
        "chose the step",
        "0.37, recommended",
    ):
        assert part in text
    assert "Comes with the plugin" not in text and "Comes with the plugin" in describe_card(TINY)
    assert "recommended" not in describe_card({**START, "threshold": 0.5}) + describe_card({**DRAWER, "threshold": 0.5})


def test_a_model_that_was_trained_here_is_neither_downloaded_nor_imported(open_page, backend):
    backend.cards["detect", "own"] = OWN
    page = open_page(backend)
    choose(page, OWN["title"])
    assert page.models.card()["name"] == "own"
    assert not page.bar.run.isEnabled() and not page.import_file.isEnabled() and page.verify.isEnabled()
    assert page.bar.run.text() == "Download"


def test_only_what_can_be_done_is_offered(page):
    choose(page, "Tiny")
    assert not page.bar.run.isEnabled() and not page.import_file.isEnabled() and page.verify.isEnabled()
    choose(page, "ChangeStar")
    assert page.bar.run.isEnabled() and page.import_file.isEnabled() and not page.verify.isEnabled()
    choose(page, "A start")
    assert page.bar.run.text() == "Download again" and page.verify.isEnabled()


def test_the_licence_is_asked_before_the_first_download_and_only_then(page, backend, window, answer, qtbot):
    choose(page, "ChangeStar")
    asked = answer("I agree")
    page.bar.run.click()
    qtbot.waitUntil(lambda: "is installed" in window.said(), timeout=5000)
    assert "anything commercial" in asked[0] and asked[1] == "default: Cancel"
    assert backend.asked == [("download_model", {"name": "big", "accept_licence": True})]
    qtbot.waitUntil(lambda: page.models.card().get("consent"), timeout=5000)
    page.bar.run.click()
    qtbot.waitUntil(lambda: len(backend.asked) == 2, timeout=5000)
    assert len(asked) == 2


def test_without_consent_nothing_is_fetched(page, backend, answer):
    choose(page, "ChangeStar")
    answer("Cancel")
    page.bar.run.click()
    assert backend.asked == [] and not page.bar.running


def test_an_installed_model_is_offered_on_the_detect_page(page, window, answer, qtbot, monkeypatch):
    form = page.dock.detect.form
    assert [form.model.itemData(row) for row in range(form.model.count())] == ["tiny"]
    form.threshold.setValue(0.77)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/somewhere/big.pth", ""))
    choose(page, "ChangeStar")
    answer("I agree")
    page.import_file.click()
    qtbot.waitUntil(lambda: form.model.count() == 2, timeout=5000)
    assert form.model.itemText(1) == BIG["title"]
    assert form.model.currentData() == "tiny" and form.threshold.value() == pytest.approx(0.77)
    assert "Choose it as Model on the Detect page" in window.said()
    assert page.models.card()["name"] == "big" and page.models.currentItem().text(1) == "yes"


def test_the_file_goes_to_the_backend(page, backend, answer, qtbot, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/somewhere/big.pth", ""))
    choose(page, "ChangeStar")
    answer("I agree")
    page.import_file.click()
    qtbot.waitUntil(lambda: bool(backend.asked), timeout=5000)
    assert backend.asked == [("import_model", {"name": "big", "accept_licence": True, "path": "/somewhere/big.pth"})]


def test_no_file_no_question(page, backend, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    choose(page, "ChangeStar")
    page.import_file.click()
    assert backend.asked == [] and not page.bar.running


def test_progress_is_shown_and_can_be_cancelled(page, backend, window, answer, qtbot):
    backend.wait_for_cancel = True
    choose(page, "ChangeStar")
    answer("I agree")
    page.bar.run.click()
    qtbot.waitUntil(lambda: page.bar.progress.value() == 300, timeout=5000)
    said = page.bar.note.text().replace("\u00a0", " ")
    assert said == "Checking the file: 120 MB of 400 MB, about 20 s left"
    assert not page.import_file.isEnabled() and not page.verify.isEnabled()
    page.bar.cancel.click()
    qtbot.waitUntil(lambda: not page.bar.running, timeout=5000)
    assert window.said() == "Cancelled." and page.import_file.isEnabled()


def test_a_download_may_outlive_the_dock(window, settings, backend, qtbot):
    backend.wait_for_cancel = True
    dock = ChangeDock(window.iface, backend)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    page = dock.models.get()
    page._start("Install", "download_model", {"name": "big"}, "It is there.")
    task = page._job
    qtbot.waitUntil(lambda: task.status() == task.TaskStatus.Running)
    dock.shut_down()
    sip.delete(dock)
    qtbot.waitUntil(lambda: sip.isdeleted(task))
    assert window.said() == ""


@pytest.mark.parametrize(
    ("refusal", "next_step"),
    [
        (BackendError("It could not be downloaded.", "Run `changen2 models import`.", "offline"), "import a file"),
        (BackendError("The disk has 3 MB free.", "Free some space.", "disk_full"), "Free some space."),
        (BackendError("It is not the file first used.", "Ask the source.", "changed"), "Ask the source."),
    ],
)
def test_a_refusal_is_told_with_what_to_do_here(page, backend, window, answer, qtbot, refusal, next_step):
    backend.refusal = refusal
    choose(page, "ChangeStar")
    answer("I agree")
    page.bar.run.click()
    qtbot.waitUntil(lambda: refusal.message in window.said(), timeout=5000)
    assert next_step in window.said() and "changen2 models" not in window.said()
    assert page.bar.run.isEnabled() and page.models.currentItem().text(1) == "no"


def test_what_the_backend_warns_of_is_told(page, backend, window, answer, qtbot):
    backend.warning = "Others report another digest."
    choose(page, "ChangeStar")
    answer("I agree")
    page.bar.run.click()
    qtbot.waitUntil(lambda: "is installed" in window.said(), timeout=5000)
    assert "Others report another digest." in window.said()


def test_every_control_has_a_tooltip_and_a_label_or_text(page):
    buddies = {label.buddy() for label in page.findChildren(QLabel)}
    buttons = [child for child in page.findChildren(QAbstractButton) if not child.objectName().startswith("qt_")]
    assert all(button.text() and button.toolTip() for button in buttons)
    for control in (page.models, page.about):
        assert control.toolTip() and control in buddies


def test_the_keyboard_reaches_all_of_it(page, window, qtbot):
    QApplication.setActiveWindow(window)
    choose(page, "Tiny")
    page.models.setFocus()
    QTest.keyClick(page.models, Qt.Key.Key_Down)
    assert page.models.card()["name"] == "big"
    reached = [page.models]
    for _ in range(12):
        page.window().focusNextPrevChild(True)
        at = QApplication.focusWidget()
        if at is page.models:
            break
        if at not in reached:
            reached.append(at)
    wanted = [page.models, page.about, page.bar.run, page.import_file]
    assert [control for control in reached if control in wanted] == wanted


def test_it_fits_beside_a_window_of_1366_by_768(page, dock_height, qtbot):
    dock = page.dock
    dock.setFloating(True)
    dock.resize(350, dock_height)
    qtbot.waitUntil(lambda: dock.height() <= dock_height)
    for control in (page.models, page.about, page.bar.run, page.import_file, page.verify):
        corner = control.mapTo(dock, control.rect().bottomRight())
        assert corner.x() <= dock.width() and corner.y() <= dock.height()
        assert control.visibleRegion().boundingRect().size() == control.size()
    assert page.findChild(QTextBrowser).horizontalScrollBar().maximum() == 0


@pytest.fixture(scope="module")
def worker(real_backend, tmp_path_factory):
    """A real worker whose models lie in a folder of the test."""
    from changen2_qgis.backend import Backend

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANGEN2_MODELS", str(tmp_path_factory.mktemp("models")))
        backend = Backend()
        backend.hello()
        yield backend
        backend.stop()


def test_the_real_worker_verifies_and_refuses(open_page, worker, window, answer, tmp_path, qtbot, monkeypatch):
    page = open_page(worker, PATIENCE_MS)
    states = [state for models in listed(page).values() for _, state in models]
    assert states[0] == "built in" and "yes" not in states
    choose(page, "Tiny: building change")
    page.verify.click()
    qtbot.waitUntil(lambda: "is unchanged" in window.said(), timeout=PATIENCE_MS)
    path = tmp_path / "s9.pth"
    path.write_bytes(b"PK\x03\x04 cut off")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    choose(page, "ChangeStar ViT-B: land cover")
    asked = answer("I agree")
    page.import_file.click()
    qtbot.waitUntil(lambda: "Get the file again" in window.said(), timeout=PATIENCE_MS)
    assert "CC BY-NC-SA 4.0" in asked[0]
    qtbot.waitUntil(lambda: page.models.card()["consent"], timeout=PATIENCE_MS)
    assert page.models.currentItem().text(1) == "no"
