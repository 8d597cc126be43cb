"""How results look: one function per kind of layer, from a layer to a styled layer.

Colours were chosen to stay apart for colour-blind readers and over both imagery and plain backgrounds:
change runs from yellow to dark red, confirmed is green with a solid line, rejected is grey and dashed.
"""

from __future__ import annotations

import math
from typing import Any

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsColorRampLegendNodeSettings,
    QgsColorRampShader,
    QgsContrastEnhancement,
    QgsDefaultValue,
    QgsEditorWidgetSetup,
    QgsFillSymbol,
    QgsMultiBandColorRenderer,
    QgsPalettedRasterRenderer,
    QgsPalLayerSettings,
    QgsRasterLayer,
    QgsRasterShader,
    QgsRendererCategory,
    QgsSimpleFillSymbolLayer,
    QgsSingleBandGrayRenderer,
    QgsSingleBandPseudoColorRenderer,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor

from .label_classes import classes_of, unchanged_classes_of
from .place_labels import place_labels

KINDS = ("change_probability", "change", "polygons", "change_class", "semantic_before", "semantic_after", "labels")

PROBABILITY_STOPS = ((0.0, "#ffe08a"), (0.35, "#fda63a"), (0.7, "#e8402a"), (1.0, "#8b0f2b"))
"""Position between the threshold and 1, colour."""

REVIEW_STATES = (
    # value, label, outline, fill, dashed
    ("unreviewed", "To review", "#ff7a00", "#30ff7a00", False),
    ("confirmed", "Confirmed", "#1a9850", "#401a9850", False),
    ("rejected", "Rejected", "#8c8c8c", "#00000000", True),
)

LABELLED_FROM_MM = 5.0
"""Places smaller than this on the screen have no label: on an overview they would hide the map."""

AREA_LABEL = (
    'CASE WHEN "area_m2" IS NULL THEN format_number("area_px", 0) || \' px\' '
    'WHEN "area_m2" >= 10000 THEN format_number("area_m2" / 10000, 1) || \' ha\' '
    "ELSE format_number(\"area_m2\", 0) || ' m²' END"
)


def style_detection_layer(
    layer: QgsRasterLayer | QgsVectorLayer,
    kind: str,
    threshold: float = 0.5,
) -> None:
    """Give a layer of a detection result its look and legend.

    Args:
        layer: a raster layer, or the vector layer for `polygons`.
        kind: one of `KINDS`.
        threshold: probability in 0..1 from which change is shown (for `change_probability`).

    Raises:
        ValueError: the kind is not known.
    """
    if kind == "change_probability":
        set_probability_threshold(layer, threshold)
    elif kind == "change":
        _style_change(layer)
    elif kind == "polygons":
        _style_polygons(layer)
    elif kind in KINDS:
        _style_classes(layer, see_through=unchanged_classes_of(layer) if kind == "change_class" else set())
    else:
        raise ValueError(f"There is no style for the kind {kind!r}; it is one of {', '.join(KINDS)}.")


def style_as_seen(layer: QgsRasterLayer, given: dict[str, Any]) -> None:
    """Draw an image as the model saw it; QGIS itself would measure the file and write statistics beside it.

    Args:
        layer: the image.
        given: the input's entry in the manifest: `bands`, from 1, those of red, green and blue, and `stretch` with the
            stored values drawn black (`low`) and white (`high`), one for each distinct band in that order.

    Raises:
        KeyError: the manifest does not tell.
    """
    provider = layer.dataProvider()
    bands, stretches = given["bands"], {}
    for band, least, most in zip(dict.fromkeys(bands), given["stretch"]["low"], given["stretch"]["high"]):
        stretch = QgsContrastEnhancement(provider.dataType(band))
        # QGIS draws what a band's scale and offset make of the stored values, such as reflectance.
        ends = [value * provider.bandScale(band) + provider.bandOffset(band) for value in (least, most)]
        stretch.setMinimumValue(min(ends))
        stretch.setMaximumValue(max(ends))
        stretch.setContrastEnhancementAlgorithm(
            QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
        )
        stretches[band] = stretch
    # A renderer owns what it is given: one of each for every channel.
    owned = [QgsContrastEnhancement(stretches[band]) for band in bands]
    if len(stretches) == 1:
        renderer = QgsSingleBandGrayRenderer(provider, bands[0])
        renderer.setContrastEnhancement(owned[0])
    else:
        renderer = QgsMultiBandColorRenderer(provider, *bands)
        renderer.setRedContrastEnhancement(owned[0])
        renderer.setGreenContrastEnhancement(owned[1])
        renderer.setBlueContrastEnhancement(owned[2])
    layer.setRenderer(renderer)
    layer.triggerRepaint()


def first_value_at(threshold: float) -> int:
    """The smallest stored value v (1..255, p = (v − 1) / 254) whose probability reaches the threshold."""
    return max(1, min(255, math.ceil(254 * threshold - 1e-9) + 1))


def set_probability_threshold(layer: QgsRasterLayer, threshold: float) -> None:
    """Draw the probability from the threshold up, yellow to dark red, and nothing below it."""
    layer.setRenderer(_probability_renderer(layer, threshold))
    layer.emitStyleChanged()
    layer.triggerRepaint()


def first_value_drawn(layer: QgsRasterLayer) -> int | None:
    """The smallest stored value that a probability layer draws; None where the user has styled it to draw all."""
    renderer = layer.renderer()
    shader = renderer.shader() if isinstance(renderer, QgsSingleBandPseudoColorRenderer) else None
    ramp = shader.rasterShaderFunction() if shader is not None else None
    return round(ramp.minimumValue()) if isinstance(ramp, QgsColorRampShader) and ramp.clip() else None


def _probability_renderer(layer: QgsRasterLayer, threshold: float) -> QgsSingleBandPseudoColorRenderer:
    first = first_value_at(threshold)
    last = max(255, first + 1)  # a ramp needs two ends, also at threshold 1
    items = []
    for position, colour in PROBABILITY_STOPS:
        probability = threshold + position * (1 - threshold)
        said = {0.0: " (threshold)", 1.0: " (certain)"}.get(position, "")
        value = first + position * (last - first)
        items.append(QgsColorRampShader.ColorRampItem(value, QColor(colour), f"{probability:.2f}{said}"))
    ramp = QgsColorRampShader(first, last)
    ramp.setColorRampType(QgsColorRampShader.Type.Interpolated)
    ramp.setColorRampItemList(items)
    ramp.setClip(True)  # values under the first stop are not drawn at all
    legend = QgsColorRampLegendNodeSettings()
    legend.setUseContinuousLegend(False)  # its labels are black, also on QGIS's dark theme
    ramp.setLegendSettings(legend)
    shader = QgsRasterShader(first, last)
    shader.setRasterShaderFunction(ramp)
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader)
    renderer.setClassificationMin(first)
    renderer.setClassificationMax(last)
    renderer.setOpacity(0.85)
    return renderer


def _style_change(layer: QgsRasterLayer) -> None:
    entries = [
        QgsPalettedRasterRenderer.Class(1, QColor("#d7263d"), "Change"),
        QgsPalettedRasterRenderer.Class(0, QColor(255, 255, 255, 0), "No change"),
    ]
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, entries))
    layer.triggerRepaint()


def _style_classes(layer: QgsRasterLayer, see_through: set[int]) -> None:
    """Colours from the file's colour table, names from its metadata items CLASS_0, CLASS_1, ….

    Args:
        layer: uint8 class numbers.
        see_through: classes that mean that nothing changed; the image under them stays visible.
    """
    provider = layer.dataProvider()
    entries = []
    for known in classes_of(layer):
        colour = QColor(255, 255, 255, 0) if known["index"] in see_through else QColor(known["color"])
        entries.append(QgsPalettedRasterRenderer.Class(known["index"], colour, known["name"]))
    if not entries:  # a class map from elsewhere: the values that occur in it
        entries = QgsPalettedRasterRenderer.classDataFromRaster(provider, 1)
    layer.setRenderer(QgsPalettedRasterRenderer(provider, 1, entries))
    layer.triggerRepaint()


def _style_polygons(layer: QgsVectorLayer) -> None:
    categories = [
        QgsRendererCategory(value, _review_symbol(outline, fill, dashed), label)
        for value, label, outline, fill, dashed in REVIEW_STATES
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("review", categories))
    layer.setLabeling(QgsVectorLayerSimpleLabeling(_area_labels()))
    layer.setLabelsEnabled(True)
    layer.setDisplayExpression(AREA_LABEL)
    _describe_fields(layer)
    layer.triggerRepaint()


def _review_symbol(outline: str, fill: str, dashed: bool) -> QgsFillSymbol:
    """A tinted polygon with a coloured line over a wider white one, readable on any imagery."""
    casing = QgsSimpleFillSymbolLayer.create(
        {"style": "no", "outline_color": "255,255,255,200", "outline_width": "0.9", "joinstyle": "round"}
    )
    line = QgsSimpleFillSymbolLayer.create(
        {"outline_width": "0.5", "outline_style": "dash" if dashed else "solid", "joinstyle": "round"}
    )
    line.setStrokeColor(QColor(outline))
    line.setFillColor(QColor(fill))
    symbol = QgsFillSymbol()
    symbol.changeSymbolLayer(0, casing)
    symbol.appendSymbolLayer(line)
    return symbol


def _area_labels() -> QgsPalLayerSettings:
    labels = place_labels(AREA_LABEL)
    thinning = labels.thinningSettings()
    thinning.setMinimumFeatureSize(LABELLED_FROM_MM)
    labels.setThinningSettings(thinning)
    return labels


def _describe_fields(layer: QgsVectorLayer) -> None:
    """Readable names in the attribute form, and a list of choices for the review."""
    aliases = {
        "area_m2": "Area (m²)",
        "area_px": "Area (pixels)",
        "mean_probability": "Mean probability",
        "from_class": "Class before",
        "to_class": "Class after",
        "review": "Review",
    }
    for name, alias in aliases.items():
        index = layer.fields().indexFromName(name)
        if index >= 0:
            layer.setFieldAlias(index, alias)
    index = layer.fields().indexFromName("review")
    if index >= 0:
        choices = [{label: value} for value, label, *_ in REVIEW_STATES]
        layer.setEditorWidgetSetup(index, QgsEditorWidgetSetup("ValueMap", {"map": choices}))
        layer.setDefaultValueDefinition(index, QgsDefaultValue("'unreviewed'"))  # what has no mark is not drawn
