"""The Detect page: settings, estimate, run, and the results of earlier runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from qgis.core import Qgis, QgsProject, QgsRasterLayer
from qgis.gui import QgisInterface
from qgis.PyQt.QtWidgets import QWidget

from ..backend import Backend
from ..background import AlgorithmRun, project_context
from ..environment import version_warning
from ..polygon_files import smallest_area
from ..processing.detect_change import DetectChange
from ..results import Carried, DetectionGroup, add_detection_group, find_group
from ..run_folders import Run, new_run_folder, threshold_folder
from ..words import describe_estimate
from ..worker_client import Hello
from .detect_form import DetectForm
from .result_panel import ResultPanel
from .run_bar import RunBar
from .run_page import RunPage


class DetectPage(RunPage):
    """Two images in, changed places out; below, the results of earlier runs.

    Args:
        iface: QGIS's window: its canvas and message bar.
        backend: shared with the algorithms; asked for models, devices and estimates.
    """

    form: DetectForm
    results: ResultPanel

    def __init__(self, iface: QgisInterface, backend: Backend, parent: QWidget | None = None) -> None:
        super().__init__(
            iface,
            backend,
            DetectForm(iface.mapCanvas()),
            RunBar("Detect change", "Find what changed between the two images"),
            ResultPanel(iface.mapCanvas()),
            (
                "Add two images of one place, taken at different times, or:",
                "Make two small simulated images, add them to the project and choose them here",
            ),
            parent,
        )
        self.results.apply_clicked.connect(self._apply_threshold)
        self.results.refused.connect(self._warn)

    def _show_backend(self, hello: Hello) -> None:
        super()._show_backend(hello)
        warning = version_warning(hello.version)  # said once in the dock, by the page that meets it first
        if warning:
            self._warn(warning)

    def needs_sample(self, rasters: list[QgsRasterLayer]) -> bool:
        """Two images are compared."""
        return len(rasters) < 2

    def choose_layers(self) -> None:
        """Choose the only two images."""
        self.form.choose_only_pair()

    def ask_estimate(self, folder: Path) -> tuple[str, dict[str, Any], list[str]]:
        """See `RunPage`."""
        algorithm = DetectChange(self._backend).create()
        return "estimate", *algorithm.estimate_request(self.form.parameters(), project_context(), folder)

    def describe_estimate(self, estimate: dict[str, Any]) -> str:
        """See `RunPage`."""
        return describe_estimate(estimate)

    def open_sample(self, paths: dict[str, str]) -> None:
        """Both images."""
        for date, picker in (("before", self.form.before), ("after", self.form.after)):
            layer = QgsRasterLayer(paths[date], f"Sample {date}", "gdal")
            QgsProject.instance().addMapLayer(layer)
            picker.set_layer(layer)
        self._show_on_map(layer)

    def run_clicked(self) -> None:
        """Detect with the form's settings."""
        before, after = self.form.before.layer(), self.form.after.layer()
        now = datetime.now()
        folder = new_run_folder(QgsProject.instance(), f"detect {before.name()} to {after.name()}", now)
        parameters = {**self.form.parameters(), "OUTPUT_FOLDER": str(folder)}
        title, threshold = f"Change {now:%Y-%m-%d %H:%M}", parameters["THRESHOLD"]
        self.form.remember()
        self._start_resumable(
            "changen2:detectchange",
            parameters,
            folder,
            lambda outputs, warnings: self._show_result(outputs, warnings, title, threshold),
        )

    def load_settings(self, run: Run) -> list[str]:
        """See `RunPage`."""
        from .run_settings import fill_detect_form

        return fill_detect_form(self.form, run)

    def _show_result(self, outputs: dict[str, Any], warnings: list[str], title: str, threshold: float) -> None:
        paths = _paths_by_role(outputs)
        node = add_detection_group(QgsProject.instance(), paths, title, _summary(outputs), threshold)
        self.results.refresh(newest=True)
        group = self.results.current()
        if group is not None and group.count == 0:
            found = (
                f"No change found from probability {threshold:.2f} up. "
                "Move the threshold under Result to see weaker signs."
            )
            level = Qgis.MessageLevel.Info
            warnings = [warning for warning in warnings if not warning.startswith("No change found")]
        else:
            found, level = f"{node.name()}.", Qgis.MessageLevel.Success
        self._tell_result(found, outputs["OUTPUT_FOLDER"], warnings, level)

    def _apply_threshold(self, group: DetectionGroup, threshold: float) -> None:
        probability = group.layer("change_probability")
        if probability is None:
            self._warn("This result has no probability layer any more. Run the detection again.")
            return
        if self._is_edited(group):
            return
        made = group.made_before(threshold)
        if made is not None:
            self._show_other_threshold(group.id, made, threshold)
            return
        parameters = {
            "PROBABILITY": probability,
            "THRESHOLD": threshold,
            "MIN_AREA": smallest_area(group.folder),
            "OUTPUT_FOLDER": str(threshold_folder(Path(group.folder), threshold)),
        }
        group_id = group.id  # the group may be gone when the run ends
        self._start(
            AlgorithmRun("changen2:vectorizechange", parameters, self),
            lambda outputs, warnings: self._show_other_threshold(
                group_id, _paths_by_role(outputs), threshold, _summary(outputs)
            ),
            self._tell,
        )

    def _show_other_threshold(
        self, group_id: str, paths: dict[str, str], threshold: float, summary: dict[str, Any] | None = None
    ) -> None:
        group = find_group(QgsProject.instance(), group_id)
        if group is None:
            self._warn(
                f"The result is no longer in the project. Its new files are in {Path(paths['polygons']).parent}."
            )
            return
        if self._is_edited(group):  # since Apply was pressed
            return
        carried = group.replace(paths, threshold, summary)
        self.results.refresh(newest=False)
        self.results.show_current()
        told = f"{group.name} from probability {threshold:.2f} up.{_marks_in_words(carried)}"
        self._tell(told, Qgis.MessageLevel.Success)

    def _is_edited(self, group: DetectionGroup) -> bool:
        """Whether the polygons are being edited, which is told: the edits would end up in another file."""
        if group.edited:
            name = group.layer("polygons").name()
            self._warn(f"“{name}” is being edited. Save or discard its edits (Toggle Editing), then press Apply again.")
        return group.edited


def _marks_in_words(carried: Carried) -> str:
    kept, without_place = carried
    if kept + without_place == 0:
        return ""
    lost = f", {without_place:,} without a place of this shape (kept at other thresholds)" if without_place else ""
    return f" Review marks: {kept:,} carried over{lost}."


def _summary(outputs: dict[str, Any]) -> dict[str, Any]:
    return {"polygons": outputs["POLYGON_COUNT"], "change_area_m2": outputs["CHANGE_AREA"]}


def _paths_by_role(outputs: dict[str, Any]) -> dict[str, str]:
    """The algorithm's outputs under the names that results have."""
    roles = {
        "PROBABILITY": "change_probability",
        "CHANGE": "change",
        "POLYGONS": "polygons",
        "SEMANTIC_BEFORE": "semantic_before",
        "SEMANTIC_AFTER": "semantic_after",
        "CHANGE_CLASS": "change_class",
    }
    return {role: outputs[name] for name, role in roles.items() if outputs.get(name)}
