"""The settings of a detection: two images, where, and with which model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.core import QgsProject
from qgis.gui import QgsCollapsibleGroupBox, QgsDoubleSpinBox, QgsMapCanvas
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from ..results import given_rasters
from ..settings import Settings
from ..widgets.band_mapping import BandMapping
from ..widgets.extent_picker import ExtentPicker
from ..widgets.form_rows import label_for, list_of, new_form, offer_devices
from ..widgets.model_picker import ModelPicker
from ..widgets.raster_picker import RasterPicker
from ..worker_client import Hello

AS_IMAGES, AS_MODEL, OTHER = range(3)


class DetectForm(QWidget):
    """All controls of a detection and nothing that acts.

    Signals:
        changed: `parameters` or `problem` may have changed.
        failed: a file could not be opened; carries the message.
    """

    changed = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, canvas: QgsMapCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = Settings()
        self.before = RasterPicker("image before the change", self)
        self.after = RasterPicker("image after the change", self)
        self.extent = ExtentPicker(canvas, self)
        tip = "What looks for change; each model knows certain objects and resolutions"
        self.model = ModelPicker(tip, self._settings.model, _can_detect, self)
        self.device = list_of("What computes: a graphics card is 10 to 100 times faster than the processor", self)
        self.device.addItem("Automatic", "auto")
        self.threshold = QgsDoubleSpinBox(self)
        self.min_area = QgsDoubleSpinBox(self)
        self.advanced = QgsCollapsibleGroupBox("Bands, resolution and alignment", self)
        self.bands_before = BandMapping("before", self.advanced)
        self.bands_after = BandMapping("after", self.advanced)
        self.resolution = list_of("At which pixel size the model sees the images", self.advanced)
        self.pixel_size = QgsDoubleSpinBox(self.advanced)
        self.coregister = QCheckBox("Align the second image to the first", self.advanced)
        self._set_up_numbers()
        self._set_up_resolution()
        self._lay_out()
        self._connect()

    def _set_up_numbers(self) -> None:
        self.threshold.setRange(0.01, 0.99)
        self.threshold.setSingleStep(0.05)
        self.threshold.setDecimals(2)
        self.threshold.setKeyboardTracking(False)  # the suffix changes with the value, not while one types
        self.threshold.setToolTip("Probability from which a pixel counts as changed; it can be moved after the run")
        _recommend(self.threshold, 0.5)
        self._show_if_recommended()
        self.min_area.setRange(0, 1e9)
        self.min_area.setDecimals(0)
        self.min_area.setSingleStep(10)
        self.min_area.setSuffix(" m²")
        self.min_area.setClearValue(0, "any size")
        self.min_area.setToolTip("Changed places smaller than this are left out of the polygons")

    def _set_up_resolution(self) -> None:
        self.resolution.addItems(["As the images", "Suited to the model", "Other"])
        self.pixel_size.setRange(0.01, 1000)
        self.pixel_size.setDecimals(2)
        _recommend(self.pixel_size, 0.5)
        self.pixel_size.setShowClearButton(False)
        self.pixel_size.setSuffix(" m")
        self.pixel_size.setVisible(False)
        self.pixel_size.setToolTip("Pixel size on the ground, in metres, at which images are seen and web maps fetched")
        self.pixel_size.setAccessibleName("Pixel size in metres")
        self.coregister.setToolTip(
            "Find one shift between the two images, of up to 20 pixels and down to parts of one, and undo it first. "
            "Where chance may have made it, nothing is moved, and you are told."
        )

    def _lay_out(self) -> None:
        form = new_form()
        for text, control in (
            ("Before", self.before),
            ("After", self.after),
            ("Area", self.extent),
            ("Model", self.model),
            ("Device", self.device),
            ("Threshold", self.threshold),
            ("Smallest change", self.min_area),
        ):
            form.addRow(label_for(text, control), control)
        # In a widget of their own: the group box shows all its direct children when it is opened.
        resolution = QWidget(self.advanced)
        row = QHBoxLayout(resolution)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.resolution, 1)
        row.addWidget(self.pixel_size)
        details = new_form()
        details.setContentsMargins(8, 4, 8, 8)
        details.addRow(label_for("Bands before", self.bands_before), self.bands_before)
        details.addRow(label_for("Bands after", self.bands_after), self.bands_after)
        details.addRow(label_for("Resolution", self.resolution), resolution)
        details.addRow(self.coregister)
        self.advanced.setLayout(details)
        self.advanced.setCollapsed(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form)
        column.addWidget(self.advanced)
        column.addStretch(1)

    def _connect(self) -> None:
        self.before.changed.connect(lambda: self.bands_before.set_layer(self.before.layer()))
        self.after.changed.connect(lambda: self.bands_after.set_layer(self.after.layer()))
        self.model.currentIndexChanged.connect(lambda _: self._follow_model())
        self.resolution.currentIndexChanged.connect(lambda way: self.pixel_size.setVisible(way == OTHER))
        self.threshold.valueChanged.connect(self._show_if_recommended)
        for picker in (self.before, self.after):
            picker.failed.connect(self.failed)
        for signal in (
            self.before.changed,
            self.after.changed,
            self.extent.changed,
            self.model.currentIndexChanged,
            self.device.currentIndexChanged,
            self.bands_before.changed,
            self.bands_after.changed,
            self.resolution.currentIndexChanged,
            self.pixel_size.valueChanged,
        ):
            signal.connect(lambda *_: self.changed.emit())

    def set_backend(self, hello: Hello) -> None:
        """Offer the models and devices that the backend has."""
        offer_devices(self.device, hello, self._settings.device)
        self.set_models(hello.models)

    def set_models(self, models: Iterable[dict[str, Any]]) -> None:
        """Offer the models that are here and detect; the chosen one stays chosen, with its settings."""
        before = self.model.card()
        self.model.offer(models)
        if any(self.model.card().get(key) != before.get(key) for key in ("name", "threshold", "gsd_native")):
            self._follow_model(keep=not before)  # what was set while the backend started
        self.changed.emit()

    def remember(self) -> None:
        """Keep the choices that suit the next project as well."""
        self._settings.model = self.model.currentData()
        self._settings.device = self.device.currentData()

    def problem(self) -> str:
        """What is missing before a run, as the next step for the user; empty if nothing is."""
        if self.before.layer() is None:
            return "Choose the image before the change."
        if self.after.layer() is None:
            return "Choose the image after the change."
        if self.before.layer() == self.after.layer():
            return "Both images are the same layer: choose another one as After."
        if self.model.count() == 0:
            return "The backend has no model that detects change. Set it up again or add a model."
        return self.extent.problem()

    def parameters(self) -> dict[str, Any]:
        """Parameters of `changen2:detectchange`, without the output folder."""
        self.threshold.interpretText()  # what has been typed counts, also before the focus leaves
        parameters: dict[str, Any] = {
            "BEFORE": self.before.layer(),
            "AFTER": self.after.layer(),
            "MODEL": self.model.currentData(),
            "DEVICE": self.device.currentData(),
            # The model's own may have more digits than are shown.
            "THRESHOLD": self.threshold.clearValue() if _is_recommended(self.threshold) else self.threshold.value(),
            "MIN_AREA": self.min_area.value(),
            "COREGISTER": self.coregister.isChecked(),
            **self.extent.parameters(),
        }
        for name, mapping in (("BANDS_BEFORE", self.bands_before), ("BANDS_AFTER", self.bands_after)):
            if mapping.bands():
                parameters[name] = mapping.bands()
        way = self.resolution.currentIndex()
        if way != AS_IMAGES:
            parameters["GSD"] = "auto" if way == AS_MODEL else str(round(self.pixel_size.value(), 4))
        return parameters

    def choose_only_pair(self) -> None:
        """With exactly two rasters in the project besides results, and none chosen, take the lower one as before.

        New layers go on top of the layer tree, and people add the older image first.
        """
        if self.before.layer() is not None or self.after.layer() is not None:
            return
        rasters = given_rasters(QgsProject.instance())
        if len(rasters) == 2:
            self.before.set_layer(rasters[1])
            self.after.set_layer(rasters[0])

    def _follow_model(self, keep: bool = False) -> None:
        """Recommend what suits the model; what the user has set stays where it is to be kept."""
        card = self.model.card()
        if not card:
            return
        _recommend(self.threshold, float(card.get("threshold", 0.5)), keep)
        self._show_if_recommended()
        _recommend(self.pixel_size, float(card.get("gsd_native") or 0.5), keep)
        self.model.show_card()

    def _show_if_recommended(self) -> None:
        self.threshold.setSuffix("  (recommended)" if _is_recommended(self.threshold) else "")


def _recommend(control: QgsDoubleSpinBox, value: float, keep: bool = False) -> None:
    """Set a number, or only remember what is recommended where another one is set and to be kept."""
    control.interpretText()  # what has been typed counts, also before the focus leaves
    is_set = not _is_recommended(control)
    control.setClearValue(value)
    if not (keep and is_set):
        control.setValue(value)


def _is_recommended(control: QgsDoubleSpinBox) -> bool:
    """Whether a control shows what is recommended, as near as it can."""
    nearest = min(max(control.clearValue(), control.minimum()), control.maximum())
    return abs(control.value() - nearest) < 0.0051  # half of the last digit that is shown


def _can_detect(card: dict[str, Any]) -> bool:
    return card.get("task") == "detect" and card.get("installed", True) and not card.get("training_start")
