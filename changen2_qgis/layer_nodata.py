"""Which values of a raster layer mean nothing: its file's, and what its user says (Layer Properties > Transparency)."""

from __future__ import annotations

import math
from typing import Any

from qgis.core import QgsContrastEnhancement, QgsRasterDataProvider, QgsRasterLayer, QgsRasterRange

from .errors import InputError


def has_own_nodata(layer: QgsRasterLayer) -> bool:
    """Whether the user has named further values of a layer that mean nothing, or switched the file's off."""
    provider = layer.dataProvider()
    return any(_named(provider, band) or _switched_off(provider, band) for band in _bands(provider))


def nodata_settings(layer: QgsRasterLayer) -> list[Any]:
    """By band, the ranges of values that the user has named, and whether the file's own value counts."""
    provider = layer.dataProvider()
    return [
        [[(span.min(), span.max()) for span in provider.userNoDataValues(band)], provider.useSourceNoDataValue(band)]
        for band in _bands(provider)
    ]


def one_nodata(layer: QgsRasterLayer) -> float | None:
    """The one value, as the layer shows it, that means nothing in all bands; NaN where none does.

    Asked of a layer that `has_own_nodata`.

    Returns:
        None where it takes several values to say it: these are written to a copy, which has the file's value for all.

    Raises:
        InputError: such a copy cannot say it either, for want of one value in all bands.
    """
    provider = layer.dataProvider()
    from_file = [_from_file(provider, band) for band in _bands(provider)]
    scales = {(provider.bandScale(band), provider.bandOffset(band)) for band in _bands(provider)}
    named = {frozenset((span.min(), span.max()) for span in _named(provider, band)) for band in _bands(provider)}
    # What bands of several scales show alike, they store differently.
    if all(value is None for value in from_file) and len(named) == len(scales) == 1:
        spans = next(iter(named))
        if not spans:
            return math.nan
        least, most = next(iter(spans))
        if len(spans) == 1 and least == most:
            return float(least)
    if any(value is None for value in from_file):
        raise InputError(
            f"The layer “{layer.name()}” was given several nodata values, and its file has none that stands for all.",
            "Leave one of them (Layer Properties > Transparency), the same for all bands.",
            "bad_value",
        )
    return None


def stored(value: float, layer: QgsRasterLayer) -> float:
    """A value that a layer shows as its file stores it, which differs where its bands have a scale or an offset."""
    provider = layer.dataProvider()
    scale, offset = provider.bandScale(1), provider.bandOffset(1)
    return value if (scale, offset) == (1, 0) else round((value - offset) / scale, 6)


def clone(layer: QgsRasterLayer) -> QgsRasterLayer:
    """A copy of a layer for another thread; QGIS's own has its file's nodata values again."""
    copy = layer.clone()
    given, provider = layer.dataProvider(), copy.dataProvider()
    for band in _bands(given) if layer.isValid() else ():
        provider.setUserNoDataValue(band, given.userNoDataValues(band))
        provider.setUseSourceNoDataValue(band, given.useSourceNoDataValue(band))
    return copy


def write_nodata(layer: QgsRasterLayer, path: str) -> None:
    """Give a written copy of a layer the nodata value that the user has given the layer.

    QGIS writes what the user has named only where the file has a value to write in its stead.
    """
    value = one_nodata(layer) if has_own_nodata(layer) else None
    if value is None:
        return
    from osgeo import gdal  # here, for the plugin to load fast

    written = gdal.Open(path, gdal.GA_Update)
    for number in range(1, written.RasterCount + 1):
        band = written.GetRasterBand(number)
        if math.isnan(value):
            band.DeleteNoDataValue()
        else:
            band.SetNoDataValue(value)


def _bands(provider: QgsRasterDataProvider) -> range:
    return range(1, provider.bandCount() + 1)


def _named(provider: QgsRasterDataProvider, band: int) -> list[QgsRasterRange]:
    """What the user has named in a band: values that can occur in it, and are not its file's own."""
    kind = provider.dataType(band)
    least, most = QgsContrastEnhancement.minimumValuePossible(kind), QgsContrastEnhancement.maximumValuePossible(kind)
    own = _from_file(provider, band)
    return [
        span
        for span in provider.userNoDataValues(band)
        if span.max() >= least and span.min() <= most and not own == span.min() == span.max()
    ]


def _from_file(provider: QgsRasterDataProvider, band: int) -> float | None:
    """The nodata value of a band's file, as the layer shows it; None where there is none, or it is switched off."""
    if not provider.useSourceNoDataValue(band):
        return None
    return _said_by_file(provider, band)


def _switched_off(provider: QgsRasterDataProvider, band: int) -> bool:
    return _said_by_file(provider, band) is not None and not provider.useSourceNoDataValue(band)


def _said_by_file(provider: QgsRasterDataProvider, band: int) -> float | None:
    """NaN means nothing anyway, whatever the file says."""
    if not provider.sourceHasNoDataValue(band):
        return None
    value = provider.sourceNoDataValue(band)
    return None if math.isnan(value) else value * provider.bandScale(band) + provider.bandOffset(band)
