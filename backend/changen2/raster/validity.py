"""Which pixels of a raster are valid, whatever way its file says it: a mask, an alpha band, nodata values, NaN."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from changen2.raster.patches import GDAL_NAMES


class Validity:
    """What some bands of a raster count as valid, on its own grid and warped to another.

    Valid is what is finite, is not nodata in every band, is not transparent and is not masked away.

    Args:
        dataset: an open raster.
        bands: counted from 1, each once.
        zero_counts: whether a nodata value of 0 is a number like others, as in a mask: there is nothing, and that is
            known.
    """

    def __init__(self, dataset: DatasetReader, bands: tuple[int, ...], *, zero_counts: bool = False) -> None:
        self._dataset = dataset
        self._bands = bands
        flags = {flag for band in bands for flag in dataset.mask_flag_enums[band - 1]}
        self._masked = MaskFlags.per_dataset in flags  # an alpha band sets this flag too, where GDAL knows its type
        self._alpha = _alpha_of(dataset)
        nodata = tuple(dataset.nodatavals[band - 1] for band in bands)
        # A band without nodata value knows all of its pixels, and one band is enough.
        self._nodata = () if None in nodata or (zero_counts and 0 in nodata) else nodata
        self._alike = len(set(map(repr, nodata))) == 1
        self._floating = any(dataset.dtypes[band - 1].startswith("float") for band in bands)

    def to_warp(self) -> tuple[DatasetReader, dict[str, object]]:
        """Return the raster to warp, and the nodata or alpha of the result, as ``WarpedVRT`` takes them."""
        if self._masked:
            return self._dataset, {"src_nodata": None, "nodata": None, "add_alpha": self._alpha is None}
        if self._nodata and self._alike:
            return self._dataset, {"src_nodata": self._nodata[0], "nodata": self._nodata[0]}
        if self._alpha is None and self._nodata:
            # The warper takes one nodata value for all bands; an alpha band can say what several do.
            nodata = dict(zip(self._bands, self._nodata, strict=True))
            return _with_alpha(self._dataset, self._dataset.count + 1, nodata), {}
        if self._floating:
            return self._dataset, {"src_nodata": float("nan"), "nodata": float("nan")}
        return self._dataset, {"src_nodata": None, "nodata": None, "add_alpha": self._alpha is None}

    def of(self, values: NDArray[np.generic], source: DatasetReader | WarpedVRT, **part: object) -> NDArray[np.bool_]:
        """Return which of the values are valid ``[h, w]``.

        Args:
            values: of the bands ``[bands, h, w]``.
            source: what they were read from: the raster itself, or what ``to_warp`` gave, warped.
            **part: ``window`` or ``out_shape`` that they were read with.
        """
        is_warped = source is not self._dataset
        # A mask is warped to an alpha band; of that dataset_mask knows only where it is of bytes or 16 bits.
        by_alpha = is_warped and (self._masked or (not self._alike if self._nodata else not self._floating))
        by_mask = self._masked and not is_warped
        valid = np.ones(values.shape[1:], bool)
        if by_mask:
            valid = source.dataset_mask(**part) > 0
        elif self._nodata and not by_alpha:
            valid[:] = False
            for band, nodata in zip(values, self._nodata, strict=True):
                valid |= band != nodata if nodata == nodata else np.isfinite(band)
        if (self._alpha and not by_mask) or by_alpha:
            valid &= source.read(self._alpha or self._dataset.count + 1, **part) > 0
        if self._floating:
            valid &= np.isfinite(values).all(axis=0)
        return valid


def of_bytes(dataset: DatasetReader) -> DatasetReader:
    """Return a raster to warp: one whose alpha band, if it has one, is of bytes, opaque where that is not 0.

    GDAL's warper takes alpha for a share of the largest number of its type: 1 would be next to nothing in 16 bits or as
    a floating-point number. One of bytes is left as it is.
    """
    alpha = _alpha_of(dataset)
    if alpha is None or dataset.dtypes[alpha - 1] == "uint8":
        return dataset
    return _with_alpha(dataset, alpha, {alpha: 0})


def _alpha_of(dataset: DatasetReader) -> int | None:
    return next((band for band, colour in enumerate(dataset.colorinterp, 1) if colour == ColorInterp.alpha), None)


def _with_alpha(dataset: DatasetReader, at: int, nodata: dict[int, float]) -> DatasetReader:
    """Return a virtual raster of a raster's bands with one of alpha.

    Args:
        dataset: the raster.
        at: number of the alpha band, which stands in for the one of that number, or comes after all.
        nodata: of some bands; opaque is where one of them is something else.
    """
    root = Element("VRTDataset", rasterXSize=str(dataset.width), rasterYSize=str(dataset.height))
    if dataset.crs:
        SubElement(root, "SRS").text = dataset.crs.to_wkt()
    SubElement(root, "GeoTransform").text = ", ".join(map(repr, dataset.transform.to_gdal()))

    # A URL is known to GDAL by another name; what else has a name, such as a table of a GeoPackage, by that.
    name = dataset.files[0] if "://" in dataset.name else dataset.name

    def band_of(kind: str, colour: str) -> Element:
        element = SubElement(root, "VRTRasterBand", dataType=kind)
        SubElement(element, "ColorInterp").text = colour
        return element

    def source_in(element: Element, kind: str, band: int) -> Element:
        source = SubElement(element, kind)
        SubElement(source, "SourceFilename", relativeToVRT="0").text = name
        SubElement(source, "SourceBand").text = str(band)
        return source

    for number in range(1, max(at, dataset.count) + 1):
        if number != at:
            source_in(band_of(GDAL_NAMES[dataset.dtypes[number - 1]], "Undefined"), "SimpleSource", number)
            continue
        alpha = band_of("Byte", "Alpha")
        for band, value in nodata.items():
            source = source_in(alpha, "ComplexSource", band)
            SubElement(source, "NODATA").text = repr(value)
            SubElement(source, "ScaleOffset").text = "255"
            SubElement(source, "ScaleRatio").text = "0"
    return rasterio.open(tostring(root, encoding="unicode"))
