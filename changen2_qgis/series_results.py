"""A synthesized series in the project: one group per run, each layer with its time, found again after reopening.

As with detections (see `results`), the group and its layers carry everything as custom properties.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsBilinearRasterResampler,
    QgsLayerTreeGroup,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtXml import QDomDocument

from .events.style import style_events
from .layer_metadata import carry_manifest, read_manifest
from .result_groups import FOLDER, ROLE, own_layers, result_nodes, run_folder, unfold
from .results import display_polygons, input_path, is_there, layer_of_file, ogr_source, open_raster
from .run_folders import INPUTS_FOLDER
from .style_files import keep_style
from .styles import style_as_seen, style_detection_layer
from .temporal import Timeline, set_fixed_range, set_range_by_step

DATES_FILE = "dates.json"
"""Beside the manifest: the dates that the user gave, so that the run can be added to another project with them."""

_ID = "changen2/series"
_TIMELINE = "changen2/timeline"
_STEP = "changen2/step"

OVERSAMPLING = 2.0
"""Pixels read for one of the map, along a side: what QGIS itself proposes, and soon read."""

_OUTPUT = re.compile(r"(image)_t(\d+)|(labels)_t(\d+)|(change)_t\d+_t(\d+)")
_PARTS = (
    # role, name of the part of the group, name of a layer, shown at first; from top to bottom
    ("change", "Change masks", "Change {before} to {step}", False),
    ("image", "Images", "Image {step} ({date})", True),
    ("labels", "Labels", "Labels {step} ({date})", False),
)


@dataclass(frozen=True)
class Output:
    """One file of a run.

    Attributes:
        role: image, labels or change.
        step: of the series; a change mask has the later of its two.
        path: of the file.
    """

    role: str
    step: int
    path: str


class SeriesGroup:
    """A series in the layer tree: the group and its layers by role and step.

    Made anew whenever it is needed; it holds no state of its own beyond the tree node.
    """

    def __init__(self, node: QgsLayerTreeGroup):
        self.node = node

    @property
    def id(self) -> str:
        """Stable identity, kept in the project file; see `result_nodes`."""
        return str(self.node.customProperty(_ID))

    @property
    def name(self) -> str:
        """The group's name as the layer tree shows it."""
        return self.node.name()

    @property
    def folder(self) -> str:
        """The run folder with all outputs and the manifest."""
        return run_folder(self.node)

    @property
    def timeline(self) -> Timeline:
        """When each step is."""
        return Timeline.from_text(str(self.node.customProperty(_TIMELINE)))

    @property
    def steps(self) -> list[int]:
        """The steps that have a layer of their own, ascending; 0 is the image that the series began with."""
        return sorted({step for _, step in self._layers()})

    def layer(self, role: str, step: int) -> QgsMapLayer | None:
        """The image, labels or change mask of a step, or None where there is none (any more)."""
        return self._layers().get((role, step))

    @property
    def image_steps(self) -> list[int]:
        """The steps that have an image, ascending."""
        return sorted(step for role, step in self._layers() if role == "image")

    def images(self) -> list[QgsRasterLayer]:
        """The images, the earliest first."""
        layers = self._layers()
        return [layers["image", step] for step in self.image_steps]

    def pair(self, step: int) -> tuple[QgsRasterLayer, QgsRasterLayer] | None:
        """The images of a step and of the next; the last pair there is, after it; None without two images."""
        pairs = list(zip(self.image_steps, self.image_steps[1:]))
        if not pairs:
            return None
        before, after = next((pair for pair in pairs if pair[0] >= step), pairs[-1])
        layers = self._layers()
        return layers["image", before], layers["image", after]

    def _layers(self) -> dict[tuple[str, int], QgsMapLayer]:
        found = {}
        for layer in own_layers(self.node):
            if layer.customProperty(_STEP) is not None:
                found[str(layer.customProperty(ROLE)), int(layer.customProperty(_STEP))] = layer
        return found


def add_series_group(
    project: QgsProject,
    folder: str,
    title: str,
    start: datetime | None = None,
    interval: tuple[int, str] | None = None,
    image: QgsRasterLayer | None = None,
) -> QgsLayerTreeGroup:
    """Add what a synthesize or simulate run has left in a folder at the top of the layer tree.

    Args:
        project: where to add it.
        folder: of the run, with its ``manifest.json``.
        title: what the group is called; what happened is added to it in words.
        start: date of the image that the series began with; None: as it was first added, else the day of the run.
        interval: from one step to the next, such as ``(6, "months")``, see `temporal.UNITS`; None: as it was first
            added, else a year.
        image: the layer whose look the images get; None: a raster layer of the project that shows the same file.

    Raises:
        OSError: there is no manifest, or an output is missing.
        ValueError: the manifest is broken.
        InputError: the interval is none.
    """
    folder = os.path.abspath(folder)
    manifest = read_manifest(folder)
    timeline = timeline_of(folder, manifest, start, interval)
    with suppress(OSError):  # a read-only folder
        write_dates(folder, timeline)
    model = image or layer_of_file(project, _first_image(manifest, folder))
    layers = [
        (output, _open(output, _layer_name(output, timeline), manifest, model)) for output in _outputs(manifest, folder)
    ]
    if not layers:
        raise ValueError(f"The manifest of {folder} names no raster.")
    events = _open_events(manifest, folder, layers)
    node = QgsLayerTreeGroup(f"{title}: {describe_series(manifest['summary'])}")
    node.setCustomProperty(_ID, layers[0][1].id())
    node.setCustomProperty(FOLDER, folder)
    node.setCustomProperty(_TIMELINE, timeline.to_text())
    if events is not None:
        set_range_by_step(events, timeline, int(manifest["summary"]["steps"]))
        events.setCustomProperty(ROLE, "events")
        keep_style(events, folder)
        carry_manifest(events, folder, f"The events of this series. {_told(manifest)}")
        project.addMapLayer(events, False)
        tree_layer = node.addLayer(events)
        tree_layer.setItemVisibilityChecked(False)  # their fill would lie over what was drawn in them
        tree_layer.setExpanded(False)
    for role, name, _, shown in _PARTS:
        of_role = [(output, layer) for output, layer in layers if output.role == role]
        if of_role:
            _add_part(project, node, name, shown, of_role)
    for output, layer in layers:
        set_fixed_range(layer, timeline.range(output.step))
        carry_manifest(layer, folder, _abstract(output, timeline, manifest))
        if output.role != "image":
            keep_style(layer, folder)
    project.layerTreeRoot().insertChildNode(0, node)
    unfold(node)
    return node


def series_groups(project: QgsProject) -> list[SeriesGroup]:
    """All series in the project, from the top of the layer tree down."""
    return [SeriesGroup(node) for node in result_nodes(project, _ID)]


def describe_series(summary: dict[str, Any]) -> str:
    """What happened, in words: "3 steps, 2 created, 1 removed" or "1 step, nothing changed"."""
    steps = int(summary.get("steps") or 0)
    counts = summary.get("events") or {}
    words = (("create", "created"), ("remove", "removed"), ("edit", "changed"))
    happened = [f"{counts[event]:,} {word}" for event, word in words if counts.get(event)]
    return ", ".join(["1 step" if steps == 1 else f"{steps} steps", *(happened or ["nothing changed"])])


def _add_part(
    project: QgsProject,
    node: QgsLayerTreeGroup,
    name: str,
    shown: bool,
    layers: list[tuple[Output, QgsRasterLayer]],
) -> None:
    """Add the layers of one role, the latest on top, folded away."""
    part = node.addGroup(name)
    for output, layer in reversed(layers):
        layer.setCustomProperty(ROLE, output.role)
        layer.setCustomProperty(_STEP, output.step)
        project.addMapLayer(layer, False)
        part.addLayer(layer).setExpanded(False)
    part.setItemVisibilityChecked(shown)
    part.setExpanded(shown)


def _outputs(manifest: dict[str, Any], folder: str) -> Iterator[Output]:
    """The rasters of a run by step, with the image that it began with, where that is still there."""
    first = _first_image(manifest, folder)
    if first and is_there(first):
        yield Output("image", 0, first)
    found = []
    for key, path in manifest["outputs"].items():
        match = _OUTPUT.fullmatch(key)
        if match:
            role, step = (part for part in match.groups() if part is not None)
            found.append(Output(role, int(step), os.path.join(folder, os.path.basename(path))))
    yield from sorted(found, key=lambda output: output.step)


def _first_image(manifest: dict[str, Any], folder: str) -> str:
    return input_path(manifest["inputs"].get("image", {}), folder)


def _open(output: Output, name: str, manifest: dict[str, Any], model: QgsRasterLayer | None) -> QgsRasterLayer:
    layer = open_raster(output.path, name)
    if not layer.isValid():
        raise OSError(f"QGIS cannot open {output.path}. It may have been moved: run the synthesis again.")
    if output.role == "image":
        _style_like(layer, model, manifest)
        _smooth_from_afar(layer)
    else:
        style_detection_layer(layer, output.role)
    return layer


def _style_like(layer: QgsRasterLayer, model: QgsRasterLayer | None, manifest: dict[str, Any]) -> None:
    """The bands, stretch and colours of the input's layer, or as the generator saw them."""
    if model is not None and model.bandCount() == layer.bandCount():
        style, categories = QDomDocument(), QgsMapLayer.StyleCategory.Symbology
        model.exportNamedStyle(style, categories=categories)
        if layer.importNamedStyle(style, categories)[0]:
            return
    style_as_seen(layer, manifest["inputs"]["image"])


def _smooth_from_afar(layer: QgsRasterLayer) -> None:
    """Average pixels where the map is smaller than the image, unless the input's layer is drawn in another way.

    Results have averaged overviews, the input often has none: it would be drawn from single pixels, and playing the
    series would flicker everywhere between it and the first step.
    """
    filtered = layer.resampleFilter()
    if filtered is not None and filtered.zoomedOutResampler() is None:
        filtered.setZoomedOutResampler(QgsBilinearRasterResampler())
        filtered.setMaxOversampling(max(OVERSAMPLING, filtered.maxOversampling()))


def _open_events(
    manifest: dict[str, Any], folder: str, layers: list[tuple[Output, QgsRasterLayer]]
) -> QgsVectorLayer | None:
    if "change_events" not in manifest["outputs"]:
        return None
    path = os.path.join(folder, os.path.basename(manifest["outputs"]["change_events"]))
    grid = next((layer for output, layer in layers if output.role != "image"), None)
    shown, _ = display_polygons(path, grid, "change_events")
    plain = QgsVectorLayer.LayerOptions(loadDefaultStyle=False)
    layer = QgsVectorLayer(ogr_source(shown, "change_events"), "Events", "ogr", plain)
    if not layer.isValid():
        raise OSError(f"QGIS cannot open {path}. It may have been moved: run the synthesis again.")
    style_events(layer)
    return layer


def _layer_name(output: Output, timeline: Timeline) -> str:
    name = next(name for role, _, name, _ in _PARTS if role == output.role)
    return name.format(step=output.step, before=output.step - 1, date=timeline.date(output.step))


def timeline_of(
    folder: str | Path,
    manifest: dict[str, Any],
    start: datetime | None = None,
    interval: tuple[int, str] | None = None,
) -> Timeline:
    """When the steps of a run are: as asked for, else as kept with the run, else by years from the day of the run."""
    before: dict[str, Any] = {}
    for place in (Path(folder) / INPUTS_FOLDER, Path(folder)):  # as the run was begun with; as it was last shown
        with suppress(OSError, ValueError):
            before = json.loads((place / DATES_FILE).read_text(encoding="utf8"))
    if start is None:
        known = before.get("start") or str(manifest.get("began", "2000-01-01"))[:10]
        start = datetime.fromisoformat(known)
    amount, unit = interval or (before.get("amount", 1), before.get("unit", "years"))
    return Timeline(start, amount, unit)


def write_dates(folder: str | Path, timeline: Timeline) -> None:
    """Keep the dates of a run beside its manifest."""
    dates = {"start": f"{timeline.start:%Y-%m-%dT%H:%M:%S}", "amount": timeline.amount, "unit": timeline.unit}
    (Path(folder) / DATES_FILE).write_text(json.dumps(dates) + "\n", encoding="utf8")


def _abstract(output: Output, timeline: Timeline, manifest: dict[str, Any]) -> str:
    date = timeline.date(output.step)
    if output.role == "image" and output.step == 0:
        return f"The image that this series began with, taken as of {date}. {_told(manifest)}"
    what = {
        "image": f"Synthetic image of {date}, no observation; outside the change mask it equals the image before.",
        "labels": f"Classes as of {date}.",
        "change": f"What changed between {timeline.date(output.step - 1)} and {date}: 1 change, 0 none.",
    }[output.role]
    return f"{what} {_told(manifest)}"


def _told(manifest: dict[str, Any]) -> str:
    source = manifest["inputs"].get("image") or manifest["inputs"].get("labels") or {}
    name = os.path.basename(str(source.get("path", "")))
    return f"Series made by Changen2 from {name}: {describe_series(manifest['summary'])}."
