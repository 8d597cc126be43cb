"""Choose a raster: one of the project's, or a file, which is added to the project."""

from __future__ import annotations

import os

from qgis.core import QgsMapLayerProxyModel, QgsProject, QgsProviderRegistry, QgsRasterLayer
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt import sip
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QHBoxLayout, QSizePolicy, QWidget

from ..icons import qgis_icon
from .tool_button import tool_button


class RasterPicker(QWidget):
    """A list of the project's rasters with a button to open a file.

    Args:
        what: the role of the raster in words, for tooltips, such as "image before the change".

    Signals:
        changed: another layer, or none, is chosen, or the chosen one shows another source.
        failed: a file could not be opened; carries the message.
    """

    changed = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, what: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QgsMapLayerComboBox(self)
        self.combo.setFilters(QgsMapLayerProxyModel.Filter.RasterLayer)
        self.combo.setAllowEmptyLayer(True)
        self.combo.setLayer(None)  # it begins with the project's first raster
        self._tip = f"The {what}: any raster layer of the project, web maps included"
        self.combo.setToolTip(self._tip)
        self.combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._followed: QgsRasterLayer | None = None
        self.combo.layerChanged.connect(self._tell_full_name)
        self.combo.layerChanged.connect(self._follow_source)
        self.combo.layerChanged.connect(self.changed)
        self.browse = tool_button(self, qgis_icon("mActionFileOpen"), f"Open a file as the {what}")
        self.browse.clicked.connect(self._ask_for_file)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.combo, 1)
        row.addWidget(self.browse)
        self.setFocusProxy(self.combo)

    def layer(self) -> QgsRasterLayer | None:
        """The chosen layer."""
        return self.combo.currentLayer()

    def set_layer(self, layer: QgsRasterLayer | None) -> None:
        """Choose a layer of the project."""
        self.combo.setLayer(layer)

    def open_file(self, path: str) -> None:
        """Add a raster file to the project and choose it."""
        layer = QgsRasterLayer(path, os.path.splitext(os.path.basename(path))[0], "gdal")
        if not layer.isValid():
            self.failed.emit(f"{path} cannot be read as a raster. Choose a GeoTIFF, PNG, JPEG or another raster.")
            return
        QgsProject.instance().addMapLayer(layer)
        self.set_layer(layer)

    def _tell_full_name(self, layer: QgsRasterLayer | None) -> None:
        """The list is narrow, and dates tend to stand at the end of names."""
        self.combo.setToolTip(f"{layer.name()}\n{self._tip}" if layer is not None else self._tip)

    def _follow_source(self, layer: QgsRasterLayer | None) -> None:
        """A repaired layer, or one that is pointed at another file, is another raster under the same name."""
        if self._followed is not None and not sip.isdeleted(self._followed):
            self._followed.dataSourceChanged.disconnect(self.changed)
        self._followed = layer
        if layer is not None:
            layer.dataSourceChanged.connect(self.changed)

    def _ask_for_file(self) -> None:
        filters = QgsProviderRegistry.instance().fileRasterFilters()
        folder = QgsProject.instance().homePath() or os.path.expanduser("~")
        path, _ = QFileDialog.getOpenFileName(self, "Open a raster", folder, filters)
        if path:
            self.open_file(path)
