"""The dock: a frame for pages, with the set-up page in their place while there is no backend."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsRasterLayer
from qgis.gui import QgisInterface, QgsDockWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QShowEvent
from qgis.PyQt.QtWidgets import QStackedWidget, QTabWidget, QWidget

from .backend import Backend
from .errors import SetupError
from .message_bar import tell
from .pages.detect_page import DetectPage
from .pages.lazy_page import LazyPage
from .pages.run_page import RunPage
from .pages.setup_page import SetupPage
from .run_folders import Run
from .undoing import take_all

MINIMUM_WIDTH = 350
"""Pixels at which no control is cut off."""


class ChangeDock(QgsDockWidget):
    """Changen2's panel. Nothing is started before it is first seen.

    Args:
        iface: QGIS's window.
        backend: the plugin's shared backend.
    """

    def __init__(self, iface: QgisInterface, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__("Changen2", parent or iface.mainWindow())
        self.setObjectName("Changen2Dock")  # QGIS keeps its place by this name
        self.setAllowedAreas(Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self._iface = iface
        self._backend = backend
        self._met = False
        self.setup = SetupPage(backend, self)
        self.detect = DetectPage(iface, backend, self)
        self.synthesize = LazyPage(self._make_synthesize, self)
        self.runs = LazyPage(self._make_runs, self)
        self.models = LazyPage(self._make_models, self)
        self.pages = QTabWidget(self)
        self.pages.setDocumentMode(True)
        self.pages.setUsesScrollButtons(False)  # four tabs fit the narrowest dock, without icons and with any font
        self.pages.setElideMode(Qt.TextElideMode.ElideRight)
        self.pages.addTab(self.detect, "Detect")
        self.pages.addTab(self.synthesize, "Synthesize")
        self.pages.addTab(self.runs, "Runs")
        self.pages.addTab(self.models, "Models")
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.setup)
        self._stack.addWidget(self.pages)
        self._stack.setMinimumWidth(MINIMUM_WIDTH)
        self.setWidget(self._stack)
        self.setup.ready.connect(self._meet_backend)
        self.setup.retry.connect(self._meet_backend)
        self.detect.backend_failed.connect(self._backend_failed)
        backend.known_models.changed.connect(self._models_changed)

    def _make_synthesize(self, parent: QWidget) -> QWidget:
        from .pages.synthesize_page import SynthesizePage

        page = SynthesizePage(self._iface, self._backend, parent)
        page.backend_failed.connect(self._backend_failed)
        page.results.detect_clicked.connect(self._detect_on)
        page.meet_backend()
        return page

    def _detect_on(self, before: QgsRasterLayer, after: QgsRasterLayer) -> None:
        """Let the Detect page look for the change between two images."""
        self.detect.form.before.set_layer(before)
        self.detect.form.after.set_layer(after)
        self.pages.setCurrentWidget(self.detect)

    def _make_runs(self, parent: QWidget) -> QWidget:
        from .pages.run_list import RunList

        page = RunList(parent)
        page.run_again.connect(self.run_again)
        page.go_on.connect(self.go_on)
        page.refused.connect(self._warn)
        page.added.connect(lambda kind: self.pages.setCurrentWidget(self._page_of(kind)))
        return page

    def _page_of(self, kind: str) -> QWidget:
        """The tab where results of a kind of run are looked at."""
        return self.detect if kind == "detect" else self.synthesize

    def run_again(self, run: Run) -> None:
        """Show the page of an earlier run with its settings; nothing is started."""
        self._show_page(run).run_again(run)

    def go_on(self, run: Run) -> None:
        """Do the rest of an unfinished run, on the page that it was started from."""
        self._show_page(run).go_on(run)

    def _show_page(self, run: Run) -> RunPage:
        self.setUserVisible(True)
        page = self._page_of(run.kind)
        self.pages.setCurrentWidget(page)
        return page.get() if isinstance(page, LazyPage) else page

    def _warn(self, text: str) -> None:
        tell(self._iface, text, Qgis.MessageLevel.Warning)

    def _models_changed(self, models: list[dict[str, Any]]) -> None:
        self.detect.form.set_models(models)
        if self.synthesize.content is not None:
            self.synthesize.content.form.set_models(models)

    def _make_models(self, parent: QWidget) -> QWidget:
        from .pages.models_page import ModelsPage

        return ModelsPage(self._iface, self._backend, parent)

    def showEvent(self, event: QShowEvent) -> None:
        """Look for the backend when the panel is first seen."""
        super().showEvent(event)
        if not self._met:
            self._meet_backend()

    def _meet_backend(self) -> None:
        try:
            self._backend.environment()
        except SetupError as error:
            self._stack.setCurrentWidget(self.setup)
            if error.code != "not_set_up":  # a named interpreter is missing, say
                self.setup.explain_failure(str(error))
            return
        self._met = True
        self._stack.setCurrentWidget(self.pages)
        self.detect.meet_backend()
        if self.synthesize.content is not None:  # made before the backend failed
            self.synthesize.content.meet_backend()

    def _backend_failed(self, message: str) -> None:
        self.setup.explain_failure(message)
        self._stack.setCurrentWidget(self.setup)

    def shut_down(self) -> None:
        """Stop what the pages have started; call before the dock is removed."""
        lazy = [page.content for page in (self.synthesize, self.models) if page.content is not None]
        take_all(page.shut_down for page in (self.setup, self.detect, *lazy))
