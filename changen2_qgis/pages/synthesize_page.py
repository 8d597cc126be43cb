"""The Synthesize page: what changes, an estimate, the run, and the series of earlier runs."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsGeometry, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface
from qgis.PyQt.QtWidgets import QWidget

from ..backend import Backend
from ..background import AlgorithmRun, project_context
from ..errors import PluginError
from ..events.preview import area_of, show_events
from ..processing.synthesize_change import SynthesizeChange
from ..results import style_detection_layer
from ..run_folders import Run, new_run_folder
from ..series_results import add_series_group
from ..temporal import Timeline
from ..words import describe_synthesis
from .run_bar import RunBar
from .run_page import RunPage
from .run_settings import fill_synthesize_form
from .series_panel import SeriesPanel
from .synthesize_form import SynthesizeForm


class SynthesizePage(RunPage):
    """An image and change events in, a series of images out; below, the series to watch.

    Args:
        iface: QGIS's window: its canvas and message bar.
        backend: shared with the algorithms; asked for models, devices and estimates.
    """

    form: SynthesizeForm
    results: SeriesPanel

    def __init__(self, iface: QgisInterface, backend: Backend, parent: QWidget | None = None) -> None:
        bar = RunBar("Synthesize change", "Draw the images that follow from these events")
        bar.cancel.setToolTip("Stop this run; the images that are finished are kept, and it can go on from there")
        super().__init__(
            iface,
            backend,
            SynthesizeForm(iface.mapCanvas()),
            bar,
            SeriesPanel(iface.mapCanvas()),
            (
                "Add an image of a place to see it change, or:",
                "Make a small simulated image with its labels, add them to the project and choose them here",
            ),
            parent,
        )
        self.form.preview_clicked.connect(self._preview)
        self.form.noted.connect(self._tell)
        self.results.refused.connect(self._warn)

    def needs_sample(self, rasters: list[QgsRasterLayer]) -> bool:
        """One image is enough."""
        return not rasters

    def choose_layers(self) -> None:
        """Choose the only image, and its labels."""
        self.form.choose_layers(self._iface.activeLayer())

    def ask_estimate(self, folder: Path) -> tuple[str, dict[str, Any], list[str]]:
        """See `RunPage`."""
        algorithm = SynthesizeChange(self._backend).create()
        return "estimate_synthesis", *algorithm.estimate_request(self.form.parameters(), project_context(), folder)

    def describe_estimate(self, estimate: dict[str, Any]) -> str:
        """See `RunPage`."""
        return describe_synthesis(estimate)

    def open_sample(self, paths: dict[str, str]) -> None:
        """The image before and its labels, which stay hidden under it."""
        image = QgsRasterLayer(paths["before"], "Sample image", "gdal")
        labels = QgsRasterLayer(paths["labels_before"], "Sample labels", "gdal")
        style_detection_layer(labels, "semantic_before")
        project = QgsProject.instance()
        project.addMapLayers([image, labels], False)
        for layer in (labels, image):
            project.layerTreeRoot().insertLayer(0, layer)
        self.form.image.set_layer(image)
        self.form.labels.set_layer(labels)
        self._show_on_map(image)

    def run_clicked(self) -> None:
        """Synthesize with the form's settings."""
        self.form.events.bar.stop()
        now, image = datetime.now(), self.form.image.layer()
        folder = self.form.folder.filePath()
        if not folder:
            folder = str(new_run_folder(QgsProject.instance(), f"synthesize from {image.name()}", now))
        title, timeline, image_id = f"Synthesis {now:%Y-%m-%d %H:%M}", self.form.dates.timeline(), image.id()
        self.form.remember()
        self._start_resumable(
            "changen2:synthesizechange",
            {**self.form.parameters(), "OUTPUT_FOLDER": folder},
            Path(folder),
            lambda outputs, warnings: self._show_result(outputs, warnings, title, timeline, image_id),
        )

    def _show_result(
        self, outputs: dict[str, Any], warnings: list[str], title: str, timeline: Timeline, image_id: str
    ) -> None:
        project = QgsProject.instance()
        image = project.mapLayer(image_id)  # it may have been removed meanwhile
        interval = (timeline.amount, timeline.unit)
        node = add_series_group(project, outputs["OUTPUT_FOLDER"], title, timeline.start, interval, image)
        self.results.refresh(newest=True)
        level = Qgis.MessageLevel.Warning if warnings else Qgis.MessageLevel.Success
        self._tell(" ".join([f"{node.name()}. Play shows it on the map.", *warnings]), level)

    def load_settings(self, run: Run) -> list[str]:
        """See `RunPage`."""
        return fill_synthesize_form(self.form, run)

    # Simulated events, before any image is drawn

    def _preview(self) -> None:
        form = self.form
        if problem := form.problem():
            self._warn(problem)
            return
        image, labels = form.image.layer(), form.labels.layer()
        folder = Path(tempfile.mkdtemp(prefix="simulate-", dir=self._scratch))
        try:
            area = area_of(form.extent, image.crs())
        except PluginError as error:
            self._warn(str(error))
            return
        parameters = {**form.simulation(folder), "OUTPUT_FOLDER": str(folder / "series")}
        # Either may have been removed when the events are there.
        image_id, labels_id = image.id(), None if labels is None else labels.id()
        self._start(
            AlgorithmRun("changen2:simulateevents", parameters, self),
            lambda outputs, warnings: self._show_events(outputs, warnings, image_id, labels_id, area),
            self._tell,
        )

    def _show_events(
        self,
        outputs: dict[str, Any],
        warnings: list[str],
        image_id: str,
        labels_id: str | None,
        area: QgsGeometry | None,
    ) -> None:
        project, source = QgsProject.instance(), self.form.events
        image, labels = project.mapLayer(image_id), project.mapLayer(labels_id or "")
        if image is None or (labels is None and labels_id is not None):
            self._warn(
                "The image or the labels of the simulated events are no longer in the project. "
                "Choose them again, and simulate anew."
            )
            return
        folder = new_run_folder(project, f"events on {image.name()}", datetime.now())
        try:
            classes = source.bar.choice.classes()
            layer = show_events(outputs["EVENTS_OUT"], labels, image, classes, folder, source.bar.layer(), area)
        except PluginError as error:
            self._warn(" ".join([str(error), *warnings]))
            return
        source.show_drawn(layer)
        count = layer.featureCount()
        where = "" if area is None else " in the area"
        text = f"{count} event{'' if count == 1 else 's'} simulated{where}. Edit them as you like, then run."
        self._tell(" ".join([text, *warnings]), Qgis.MessageLevel.Warning if warnings else Qgis.MessageLevel.Info)

    def shut_down(self) -> None:
        """Stop everything that this page has started, and leave nothing on the canvas; for the dock's end."""
        super().shut_down()
        self.form.events.bar.remove()
