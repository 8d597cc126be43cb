"""Which bands of a raster serve as red, green and blue."""

from __future__ import annotations

from qgis.core import QgsRaster, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

COLOURS = (
    ("red", QgsRaster.ColorInterpretation.RedBand),
    ("green", QgsRaster.ColorInterpretation.GreenBand),
    ("blue", QgsRaster.ColorInterpretation.BlueBand),
)


def default_bands(layer: QgsRasterLayer) -> list[int]:
    """Bands (from 1) as the backend chooses them: by their colours if all three are there, else the first three.

    An alpha band is none of them; a raster with fewer than three others repeats its first one.
    """
    provider = layer.dataProvider()
    by_colour = {provider.colorInterpretation(band): band for band in range(layer.bandCount(), 0, -1)}
    bands = [by_colour.get(interpretation) for _, interpretation in COLOURS]
    if all(bands):
        return [band for band in bands if band]
    alpha = QgsRaster.ColorInterpretation.AlphaBand
    usable = [band for band in range(1, layer.bandCount() + 1) if provider.colorInterpretation(band) != alpha]
    return usable[:3] if len(usable) >= 3 else (usable or [1])[:1] * 3


class BandMapping(QWidget):
    """Three band lists for one raster.

    Args:
        date: "before" or "after", for tooltips.

    Signals:
        changed: another band is chosen.
    """

    changed = pyqtSignal()

    def __init__(self, date: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        self.combos: list[QComboBox] = []
        for colour, _ in COLOURS:
            combo = QComboBox(self)
            combo.setToolTip(f"The band of the image {date} the change that the model sees as {colour}")
            combo.setAccessibleName(f"Band for {colour}, {date}")
            combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            combo.currentIndexChanged.connect(self.changed)
            row.addWidget(combo, 1)
            self.combos.append(combo)
        self.setFocusProxy(self.combos[0])

    def set_layer(self, layer: QgsRasterLayer | None) -> None:
        """Offer the bands of a raster, with the default chosen; of a broken one nothing is known."""
        mappable = layer is not None and layer.isValid() and layer.providerType() == "gdal"
        self.setEnabled(mappable)  # web maps are rendered to red, green and blue
        self.blockSignals(True)
        for combo in self.combos:
            combo.clear()
        if mappable:
            for combo, band in zip(self.combos, default_bands(layer)):
                _offer_bands(combo, layer)
                combo.setCurrentIndex(combo.findData(band))
        self.blockSignals(False)
        self.changed.emit()

    def choose(self, bands: list[int]) -> None:
        """Choose the bands for red, green and blue; one stands for all three."""
        for combo, band in zip(self.combos, bands if len(bands) == 3 else bands[:1] * 3):
            combo.setCurrentIndex(max(0, combo.findData(band)))

    def bands(self) -> list[int]:
        """The bands for red, green and blue; empty where there is nothing to choose."""
        return [combo.currentData() for combo in self.combos] if self.isEnabled() else []


def _offer_bands(combo: QComboBox, layer: QgsRasterLayer) -> None:
    """Number and initial of the colour, because the lists are narrow; the band's full name as a tooltip."""
    provider = layer.dataProvider()
    initials = {interpretation: colour[0].upper() for colour, interpretation in COLOURS}
    for band in range(1, layer.bandCount() + 1):
        initial = initials.get(provider.colorInterpretation(band), "")
        combo.addItem(f"{band} {initial}".strip(), band)
        combo.setItemData(band - 1, layer.bandName(band), Qt.ItemDataRole.ToolTipRole)
