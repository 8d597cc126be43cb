"""Labels of places on an image: small, with a halo, beside the polygon, so that the place itself stays visible."""

from __future__ import annotations

from qgis.core import QgsPalLayerSettings, QgsTextBufferSettings, QgsTextFormat
from qgis.PyQt.QtGui import QColor


def place_labels(expression: str) -> QgsPalLayerSettings:
    """Labels that say what an expression gives for each polygon."""
    halo = QgsTextBufferSettings()
    halo.setEnabled(True)
    halo.setSize(0.8)
    halo.setColor(QColor(255, 255, 255, 230))
    text = QgsTextFormat()
    text.setSize(8)
    text.setColor(QColor("#222222"))
    text.setBuffer(halo)
    labels = QgsPalLayerSettings()
    labels.isExpression = True
    labels.fieldName = expression
    labels.placement = QgsPalLayerSettings.Placement.OutsidePolygons
    labels.setFormat(text)
    return labels
