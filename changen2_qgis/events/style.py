"""How change events look: colour and pattern tell what happens, the label when and to which class.

Colours were chosen to stay apart for colour-blind readers and from those of detected change; the patterns tell
the events apart in black and white too.
"""

from __future__ import annotations

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsLinePatternFillSymbolLayer,
    QgsLineSymbol,
    QgsRendererCategory,
    QgsSimpleFillSymbolLayer,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor

from ..place_labels import place_labels

EVENTS = (
    # value, label, colour, angles of the hatching in degrees, dashed outline
    ("create", "Create", "#0072b2", (), False),
    ("remove", "Remove", "#b5179e", (45.0, 135.0), False),
    ("edit", "Edit", "#e0a800", (0.0,), True),
)
"""What can happen to a place, in the order in which it is offered."""

STEP_LABEL = "concat(\"step\", if(\"event\" = 'remove', '', concat(' ', \"to_class\")))"


def event_colour(event: str) -> QColor:
    """The colour of an event on the map; grey for a word that is no event."""
    return QColor(next((colour for value, _, colour, *_ in EVENTS if value == event), "#808080"))


def style_events(layer: QgsVectorLayer) -> None:
    """Give a layer of change events its symbols, labels and map tips."""
    categories = [
        QgsRendererCategory(value, _symbol(QColor(colour), angles, dashed), label)
        for value, label, colour, angles, dashed in EVENTS
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("event", categories))
    layer.setLabeling(QgsVectorLayerSimpleLabeling(place_labels(STEP_LABEL)))
    layer.setLabelsEnabled(True)
    layer.setDisplayExpression('concat("event", \' \', "to_class", \', step \', "step")')
    layer.triggerRepaint()


def _symbol(colour: QColor, angles: tuple[float, ...], dashed: bool) -> QgsFillSymbol:
    """A tinted or hatched polygon with a coloured line over a wider white one, readable on any imagery."""
    casing = QgsSimpleFillSymbolLayer.create(
        {"style": "no", "outline_color": "255,255,255,220", "outline_width": "1.0", "joinstyle": "round"}
    )
    line = QgsSimpleFillSymbolLayer.create(
        {"outline_width": "0.5", "outline_style": "dash" if dashed else "solid", "joinstyle": "round"}
    )
    tint = QColor(colour)
    tint.setAlpha(30 if angles else 90)
    line.setStrokeColor(colour)
    line.setFillColor(tint)
    symbol = QgsFillSymbol()
    symbol.changeSymbolLayer(0, casing)
    for angle in angles:
        hatch = QgsLinePatternFillSymbolLayer()
        hatch.setLineAngle(angle)
        hatch.setDistance(2.0)
        hatch.setSubSymbol(QgsLineSymbol.createSimple({"color": colour.name(), "width": "0.2"}))
        symbol.appendSymbolLayer(hatch)
    symbol.appendSymbolLayer(line)
    return symbol
