"""What the plugin adds to QGIS's own menus: swipe the selected layers; a result's run folder and its settings."""

from __future__ import annotations

from pathlib import Path

from qgis.core import Qgis, QgsMapLayer, QgsMapLayerType, QgsProject
from qgis.gui import QgisInterface
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtWidgets import QAction

from .icons import own_icon, qgis_icon
from .message_bar import tell
from .pages.group_panel import open_folder
from .result_groups import FOLDER, is_result, run_folder
from .run_folders import FORMS, Run, read_run
from .swipe_tool import Side, Swipe

MENU = "Changen2"
TYPES = (QgsMapLayerType.RasterLayer, QgsMapLayerType.VectorLayer)


class LayerActions(QObject):
    """Two entries in the menu of each layer that is part of a result, and a swipe button for any layers.

    Signals:
        run_again: a page is to be filled with the settings of a `Run`.
    """

    run_again = pyqtSignal(object)

    def __init__(self, iface: QgisInterface, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._iface = iface
        self._swiping = Swipe(iface.mapCanvas(), self)
        window = iface.mainWindow()
        self.swipe = QAction(own_icon("swipe"), "Swipe layers", window)
        self.swipe.setObjectName("changen2_swipe")
        self.swipe.setCheckable(True)
        tip = "Compare the two selected layers, or the map with and without one, with a divider (keys , and .)"
        self.swipe.setToolTip(tip)
        self.open = QAction(qgis_icon("mActionFolder"), "Open run folder", window)
        self.again = QAction(qgis_icon("mActionRefresh"), "Run again with these settings", window)
        self.swipe.triggered.connect(self._toggle_swipe)
        self.open.triggered.connect(self._open)
        self.again.triggered.connect(self._run_again)
        self._swiping.ended.connect(lambda: self.swipe.setChecked(False))
        iface.addToolBarIcon(self.swipe)
        iface.addPluginToRasterMenu(MENU, self.swipe)
        for action in (self.open, self.again):
            for kind in TYPES:
                iface.addCustomActionForLayerType(action, MENU, kind, False)
        iface.currentLayerChanged.connect(self._show_possible)
        project = QgsProject.instance()
        project.layersAdded.connect(self._look_at)
        self._look_at(list(project.mapLayers().values()))

    def remove(self) -> None:
        """Take everything back."""
        self._swiping.stop()
        QgsProject.instance().layersAdded.disconnect(self._look_at)
        for layer in QgsProject.instance().mapLayers().values():
            layer.customPropertyChanged.disconnect(self._look_again)
        self._iface.currentLayerChanged.disconnect(self._show_possible)
        self._iface.removeToolBarIcon(self.swipe)
        self._iface.removePluginRasterMenu(MENU, self.swipe)
        for action in (self.open, self.again):
            for _ in TYPES:  # each call takes it back from one
                self._iface.removeCustomActionForLayerType(action)
            action.deleteLater()
        self.swipe.deleteLater()

    def _look_at(self, layers: list[QgsMapLayer]) -> None:
        """Add the entries to the menus of results; Processing makes a layer one once it is in the project."""
        for layer in layers:
            layer.customPropertyChanged.connect(self._look_again)
            if is_result(layer):
                self._offer(layer)

    def _look_again(self, key: str) -> None:
        if key == FOLDER:
            self._offer(self.sender())

    def _offer(self, layer: QgsMapLayer) -> None:
        if layer.type() in TYPES:
            for action in (self.open, self.again):
                self._iface.addCustomActionForLayer(action, layer)

    # The run of a layer

    def _folder(self) -> str:
        layer = self._iface.activeLayer()
        return run_folder_of(QgsProject.instance(), layer) if layer is not None else ""

    def _open(self) -> None:
        folder = self._folder()
        self._warn(open_folder(folder) if folder else "This layer is no longer in the group of its run.")

    def _run(self) -> Run | None:
        folder = self._folder()
        return read_run(Path(folder)) if folder else None

    def _show_possible(self, _: QgsMapLayer | None) -> None:
        """No page can be filled with a run of the toolbox alone; where a run is gone, that is said when asked for."""
        run = self._run()
        self.again.setEnabled(run is None or run.kind in FORMS)

    def _run_again(self) -> None:
        run = self._run()
        if run is None or not run.finished:
            self._warn("The settings of this layer's run are gone: its folder or the manifest in it was removed.")
        elif run.kind in FORMS:
            self.run_again.emit(run)
        else:
            self._warn("No page has settings for this kind of run: run it again in the Processing toolbox.")

    # Swiping

    def _toggle_swipe(self) -> None:
        if self._swiping.active:
            self._swiping.stop()
            return
        sides = sides_of(self._iface.layerTreeView().selectedLayers(), self._iface.mapCanvas().layers())
        self.swipe.setChecked(sides is not None)
        if sides is None:
            self._warn(
                "Select two layers in the Layers panel to compare, or one to see the map with and without it. "
                "Tables cannot be seen on it."
            )
        else:
            self._swiping.start(*sides)

    def _warn(self, text: str) -> None:
        if text:
            tell(self._iface, text, Qgis.MessageLevel.Warning)


def run_folder_of(project: QgsProject, layer: QgsMapLayer) -> str:
    """The run folder of the result that a layer belongs to; empty where it belongs to none."""
    if kept := layer.customProperty(FOLDER):
        return kept if Path(kept).is_dir() else str(Path(layer.source().split("|")[0]).parent)
    node = project.layerTreeRoot().findLayer(layer.id())
    while node is not None and not node.customProperty(FOLDER):
        node = node.parent()
    return run_folder(node) if node is not None else ""


def sides_of(selected: list[QgsMapLayer], shown: list[QgsMapLayer]) -> tuple[Side, Side] | None:
    """What is compared: two layers, the lower on the left; or the map without and with one.

    Args:
        selected: in the layer tree; tables, which no map shows, are passed over.
        shown: layers on the canvas, from top to bottom.

    Returns:
        The left and the right side; None where neither one nor two layers are selected.
    """
    selected = [layer for layer in selected if layer.isSpatial()]
    if len(selected) == 2:
        # Not the tree's `layerOrder`: a group that is rendered as one layer is in it instead of its layers.
        order = [node.layerId() for node in QgsProject.instance().layerTreeRoot().findLayers()]
        lower, upper = sorted(selected, key=lambda layer: -order.index(layer.id()))
        return Side.of(lower), Side.of(upper)
    if len(selected) != 1:
        return None
    layer = selected[0]
    without = tuple(other for other in shown if other.id() != layer.id())
    with_it = tuple(shown) if len(without) < len(shown) else (layer, *without)
    return Side(without, f"without {layer.name()}", in_time=True), Side(with_it, layer.name(), in_time=True)
