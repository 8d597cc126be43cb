"""The two images of a detection: where to look in them, and files for the backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeatureSource,
    QgsProcessingFeedback,
    QgsRasterLayer,
    QgsRectangle,
)

from .errors import InputError
from .inputs import Kept, as_seen, image_path, is_seen_otherwise, origin_of, write_anew
from .rendering import ground_resolution, origin_of_rendered, render_layer, write_stand_in


class RasterPair:
    """Two raster layers; `before` gives the grid.

    Raises:
        InputError: one of them is broken, or its nodata values cannot be told.
    """

    def __init__(self, before: QgsRasterLayer, after: QgsRasterLayer) -> None:
        self.before = before
        self.after = after
        self._paths = {"before": image_path(before), "after": image_path(after)}

    def window(self, extent: QgsRectangle, polygons: QgsFeatureSource | None) -> QgsRectangle:
        """Where to look, in the CRS of `before`: the extent, or what the polygons span; null for everywhere."""
        if polygons is None or not extent.isNull():
            return extent
        return moved_extent(polygons.sourceExtent(), polygons.sourceCrs(), self.before.crs())

    def ground_resolution(self) -> float | None:
        """Metres per pixel of the image that is a file (`before` if both are), None where none is."""
        for role, layer in (("before", self.before), ("after", self.after)):
            if self._paths[role] is not None:
                return ground_resolution(layer.extent(), layer.crs(), layer.width(), layer.height())
        return None

    def files(
        self,
        window: QgsRectangle,
        folder: Path,
        resolution: Callable[[], float],
        max_megapixels: float,
        feedback: QgsProcessingFeedback,
        kept: Kept = write_anew,
    ) -> dict[str, str]:
        """Both images as files that the backend opens; those that are none are written into `folder`.

        Args:
            window: where to look, in the CRS of `before`; null for everywhere.
            folder: for written images.
            resolution: gives metres per pixel for layers without pixels of their own.
            max_megapixels: the largest picture to write.
            feedback: progress, warnings and cancel.
            kept: gives the file that the run that is gone on with has written.

        Raises:
            InputError: there is no telling what to render, or it cannot be; or the unfinished run was given another.
            Cancelled: `feedback` was cancelled.
        """
        files = {}
        for role, layer in (("before", self.before), ("after", self.after)):
            path = self._paths[role]
            if path is not None:
                earlier = kept(folder / f"{role}.vrt", origin_of(layer)) if is_seen_otherwise(layer) else None
                files[role] = earlier or as_seen(path, layer, folder, role)
                continue
            target = folder / f"{role}.tif"
            if kept(target, origin_of_rendered(layer, resolution)) is None:
                render_layer(layer, self._window_on(layer, window), target, resolution, max_megapixels, feedback)
            files[role] = str(target)
        return files

    def stand_ins(
        self, window: QgsRectangle, folder: Path, resolution: Callable[[], float], max_megapixels: float
    ) -> tuple[dict[str, str], list[str]]:
        """As `files`, for an estimate: what would be written is an empty virtual raster of the same size.

        Returns:
            The files, and for each image that would be written a sentence for the user.

        Raises:
            InputError: as `files`.
        """
        files, notes = {}, []
        for role, layer in (("before", self.before), ("after", self.after)):
            path = self._paths[role]
            if path is not None:
                files[role] = as_seen(path, layer, folder, role)
                continue
            target = folder / f"{role}.vrt"
            notes.append(write_stand_in(layer, self._window_on(layer, window), target, resolution, max_megapixels))
            files[role] = str(target)
        return files, notes

    def _window_on(self, layer: QgsRasterLayer, window: QgsRectangle) -> QgsRectangle | None:
        """The window in a layer's own CRS; where none is given, what the other image covers.

        Of `after` no more than `before` covers if that is a file, for nothing is compared beyond. Without CRS it is
        everywhere: pixels are counted from the first one of the whole image.
        """
        if layer.crs().isValid() and not self.before.crs().isValid():
            raise InputError(
                f"The layer “{layer.name()}” cannot be brought to an image without CRS.",
                "Give the other image a CRS (Layer > Set CRS).",
                "no_overlap",
            )
        if not self.before.crs().isValid():
            return None
        if not window.isNull():
            if layer is not self.before and self._paths["before"] is not None:
                window = window.intersect(self.before.extent())
                if window.isEmpty():
                    raise InputError(
                        f"The extent lies outside the layer “{self.before.name()}”.",
                        "Choose another extent.",
                        "no_overlap",
                    )
            return moved_extent(window, self.before.crs(), layer.crs())
        other_role, other = ("after", self.after) if layer is self.before else ("before", self.before)
        if self._paths[other_role] is None:
            return None
        return moved_extent(other.extent(), other.crs(), layer.crs())


def moved_extent(
    extent: QgsRectangle, source: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem
) -> QgsRectangle:
    """An extent in another CRS: what bounds it there. Without CRS on a side, coordinates stay as they are."""
    if not source.isValid() or not target.isValid() or source == target:
        return extent
    try:
        return QgsCoordinateTransform(source, target, QgsCoordinateTransformContext()).transformBoundingBox(extent)
    except QgsCsException as error:
        raise InputError(
            f"The extent {extent.toString(3)} cannot be brought to {target.authid()}: {error}",
            "Choose an extent inside both coordinate systems' areas.",
            "no_overlap",
        ) from error
