"""What QGIS loads and unloads: the Processing provider, the dock, its action, and entries in layers' menus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QAction

from .backend import Backend
from .icons import own_icon
from .undoing import take_all

if TYPE_CHECKING:
    from .dock import ChangeDock
    from .layer_actions import LayerActions
    from .processing.provider import Changen2Provider

MENU = "Changen2"


class Changen2Plugin:
    """One backend, shared by the algorithms and the dock.

    Args:
        iface: QGIS's `QgisInterface`; None in ``qgis_process``, which calls `initProcessing` only.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.backend = Backend()
        self.provider: Changen2Provider | None = None
        self.dock: ChangeDock | None = None
        self.action: QAction | None = None
        self.layer_actions: LayerActions | None = None

    def initProcessing(self) -> None:
        """Register the algorithms; they are imported here, for QGIS to list its plugins fast."""
        from .processing.provider import Changen2Provider

        self.provider = Changen2Provider(self.backend)
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Register the algorithms, add the dock and the action that shows it."""
        from .dock import ChangeDock
        from .layer_actions import LayerActions

        self.initProcessing()
        self.dock = ChangeDock(self.iface, self.backend)
        self.layer_actions = LayerActions(self.iface, self.dock)
        self.layer_actions.run_again.connect(self.dock.run_again)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.action = QAction(own_icon("changen2"), "Changen2", self.iface.mainWindow())
        self.action.setObjectName("changen2_show_dock")
        self.action.setToolTip("Show or hide the Changen2 panel")
        self.action.setCheckable(True)
        self.action.setChecked(self.dock.isUserVisible())
        self.action.toggled.connect(self.dock.setUserVisible)
        self.dock.visibilityChanged.connect(self.action.setChecked)
        self.iface.addToolBarIcon(self.action)
        self.iface.addPluginToRasterMenu(MENU, self.action)

    def unload(self) -> None:
        """Undo all of the above, whatever fails on the way; no process is left, and none starts any more.

        The worker goes first: it may hold or write files that the pages remove.
        """
        steps: list[Callable[[], Any]] = [self.backend.close]
        if self.action is not None:
            steps += [
                partial(self.iface.removeToolBarIcon, self.action),
                partial(self.iface.removePluginRasterMenu, MENU, self.action),
                self.action.deleteLater,
            ]
        if self.layer_actions is not None:
            steps.append(self.layer_actions.remove)
        if self.dock is not None:
            steps += [
                self.dock.shut_down,
                partial(self.iface.removeDockWidget, self.dock),
                self.dock.deleteLater,
            ]
        if self.provider is not None:
            steps.append(partial(QgsApplication.processingRegistry().removeProvider, self.provider))
        take_all(steps)
        self.action = self.layer_actions = self.dock = self.provider = None
