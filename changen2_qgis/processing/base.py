"""What all algorithms share: asking the backend, progress, cancel, errors, and loading the results."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt import sip
from qgis.PyQt.QtGui import QIcon

from ..backend import Backend
from ..errors import PluginError
from ..icons import own_icon
from ..inputs import polygons_path, redact
from ..layer_metadata import carry_run
from ..run_folders import new_run_folder
from ..words import describe_seconds
from ..worker_client import Callbacks, Progress
from .help_text import help_text
from .open_results import refuse_open_results
from .run_folder import RunFolder

Stages = Mapping[str, tuple[int, int, str]]
"""Stage of the backend: from percent, to percent, said to the user; where both are equal the percentage stays."""

DETECTION_STAGES: Stages = {
    "read": (0, 3, "Reading the images"),
    "coregister": (0, 3, "Aligning the images"),
    "detect": (3, 87, "Looking for change"),
    "resample": (87, 91, "Bringing the maps to the image's pixels"),
    "write": (91, 95, "Writing the maps"),
    "vectorize": (95, 100, "Drawing the polygons"),
}


class BackendAlgorithm(QgsProcessingAlgorithm):
    """An algorithm whose work is done by the backend.

    Subclasses implement `prepare_job` (main thread: clone layers, export unsaved edits) and `do_job` (pool
    thread); a `PluginError` from either becomes the message that Processing shows.
    """

    ID: ClassVar[str]
    """The part of the id after the colon."""

    TITLE: ClassVar[str]
    """Shown in the toolbox."""

    HELP: ClassVar[str]
    """Shown beside the parameters; see `help_text`."""

    stages: ClassVar[Stages] = DETECTION_STAGES

    results: ClassVar[str] = ""
    """Pattern of the names of the layers' files that a run replaces, where it is allowed to."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend
        self._job: Any = None

    def createInstance(self) -> BackendAlgorithm:
        """A fresh one for each run, with the same backend."""
        return type(self)(self.backend)

    def name(self) -> str:
        """The part of the id after the colon."""
        return self.ID

    def displayName(self) -> str:
        """Shown in the toolbox."""
        return self.TITLE

    def shortHelpString(self) -> str:
        """Shown beside the parameters."""
        return help_text(self.ID, self.HELP)

    def icon(self) -> QIcon:
        """The plugin's icon."""
        return own_icon("changen2")

    def prepare_job(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> Any:
        """Read the parameters; called on the main thread. What it returns goes to `do_job`."""
        raise NotImplementedError

    def do_job(self, job: Any, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Do the work; called on a pool thread, returns the outputs."""
        raise NotImplementedError

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Called by Processing on the main thread.

        A model checks nothing that it hands on: a layer that cannot be loaded would be taken for one that is not
        given. All else that is not given may come as an empty text.
        """
        message = self._missing(parameters, context)
        if message is None:
            try:
                self._job = self.prepare_job(parameters, context, feedback)
                return True
            except PluginError as error:
                message = str(error)
        del parameters, context, feedback  # see `processAlgorithm`
        raise QgsProcessingException(message)

    def _missing(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str | None:
        """What to tell of a layer that is not there; None where all are."""
        for definition in self.parameterDefinitions():
            name, takes_layer = definition.name(), definition.type() in ("raster", "layer", "source")
            if takes_layer and not definition.checkValueIsAcceptable(parameters.get(name), context):
                return (
                    f"{name} (“{definition.description()}”) is not given, or no layer that can be loaded: "
                    f"{redact(repr(parameters.get(name)))}. Give a layer that is there, or its file."
                )
        return None

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Called by Processing on a pool thread."""
        job, self._job = self._job, None
        try:
            return self.do_job(job, context, feedback)
        except PluginError as error:
            message = str(error)
        # QGIS never frees the traceback of what leaves here, so no layer may be within its reach: it would stay
        # open until QGIS ends, and be closed too late.
        del job, parameters, context, feedback
        raise QgsProcessingException(message)

    def polygons_file(
        self,
        parameters: dict[str, Any],
        name: str,
        context: QgsProcessingContext,
        raster: QgsRasterLayer,
        folder: RunFolder,
        inside: str = "",
    ) -> str:
        """The polygons of a feature source, all or the selected ones, as a file. Main thread.

        Args:
            parameters: given to this algorithm.
            name: of the parameter, which is given.
            context: of the run.
            raster: the reference raster, see `polygons_path`.
            folder: of the run; its inputs take the polygons where they must be written.
            inside: a folder of its own among the inputs, where there are several such files.

        Raises:
            InputError: there is no polygon, it cannot be written, or the unfinished run was given others.
        """
        layer = self._layer_behind(parameters, name, context)
        folder.layers[str(Path(inside, "aoi"))] = layer.name()
        source = self.parameterAsSource(parameters, name, context)
        return polygons_path(layer, source, raster, folder.inputs / inside, folder.kept)

    def _layer_behind(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> QgsVectorLayer:
        """The layer of a feature source; Processing knows none where a choice of its features is given."""
        given = parameters[name]
        layer = given.source if isinstance(given, QgsProcessingFeatureSourceDefinition) else given
        return self.parameterAsVectorLayer({**parameters, name: layer}, name, context)

    def model_parameter(self, title: str, task: str, starts: bool = False) -> QgsProcessingParameterString:
        """The parameter MODEL: any name; its title lists those known, for which see `KnownModels.names`."""
        known = self.backend.known_models.listed(task, starts)
        return QgsProcessingParameterString("MODEL", f"{title} ({known})", "tiny")

    def output_folder(self, parameters: dict[str, Any], context: QgsProcessingContext, name: str) -> Path:
        """The folder given as OUTPUT_FOLDER; where none is, a new one beside the project, see `new_run_folder`."""
        given = self.parameterAsString(parameters, "OUTPUT_FOLDER", context)
        if given:
            return Path(os.path.abspath(given))
        return new_run_folder(context.project() or QgsProject.instance(), name, datetime.now())

    def check_replaced(self, folder: Path, overwrite: bool, context: QgsProcessingContext) -> None:
        """Refuse to replace results that cannot be replaced, before the work. Main thread.

        Args:
            folder: the output folder.
            overwrite: whether the user allows results that are there to be replaced.
            context: of the run.

        Raises:
            InputError: as `refuse_open_results`.
        """
        if overwrite:
            refuse_open_results(folder, self.results, context.project())

    def refresh_models(self, feedback: QgsProcessingFeedback) -> None:
        """Let all lists of models know what a run has changed, unless the backend cannot say."""
        with contextlib.suppress(PluginError):
            self.backend.request("models", {}, Callbacks(cancelled=feedback.isCanceled))

    def ask(self, method: str, params: Mapping[str, Any], feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Send a job to the backend and wait, with progress, log and cancel through `feedback`."""
        if self.backend.last_hello is None:
            feedback.setProgressText("Starting the backend")
        callbacks = Callbacks(
            progress=lambda progress: self._show(progress, feedback),
            log=lambda level, message: _log(level, message, feedback),
            cancelled=feedback.isCanceled,
        )
        result = self.backend.request(method, params, callbacks)
        for warning in result.get("warnings", ()):
            feedback.pushWarning(warning)
        feedback.setProgress(100)
        return result

    def stage_text(self, progress: Progress) -> str:
        """What the backend is doing, for the user."""
        return self._stage(progress)[2]

    def _stage(self, progress: Progress) -> tuple[int, int, str]:
        if progress.stage == "queue":
            return (0, 0, "Waiting for another run of Changen2")
        return self.stages.get(progress.stage, (0, 100, progress.stage))

    def _show(self, progress: Progress, feedback: QgsProcessingFeedback) -> None:
        low, high, _ = self._stage(progress)
        if high > low:
            feedback.setProgress(low + (high - low) * (progress.done / progress.total if progress.total else 0.0))
        left = "" if progress.eta_s is None else f", about {describe_seconds(progress.eta_s)} left"
        count = f": {progress.done:,.0f} of {progress.total:,.0f}" if progress.total else ""
        feedback.setProgressText(f"{self.stage_text(progress)}{count}{left}")

    def load_on_completion(
        self, context: QgsProcessingContext, layers: Mapping[str, tuple[str, str]], threshold: float, run: Path
    ) -> None:
        """Have the toolbox load and style results; nothing happens where nobody asked for layers.

        Args:
            context: of this run.
            layers: by role (see `results.LAYERS`), the output's name and the layer's source.
            threshold: probability 0..1 from which change was counted.
            run: folder of the run, whose manifest names the model.
        """
        from ..results import LAYERS, style_detection_layer
        from ..style_files import keep_style

        names = {role: name for role, name, _ in LAYERS}
        for kind, (output, source) in layers.items():

            def style(layer: QgsMapLayer, kind: str = kind) -> None:
                style_detection_layer(layer, kind, threshold)
                keep_style(layer, run)

            self.load_layer(context, output, source, names[kind], style, run)

    def load_layer(
        self,
        context: QgsProcessingContext,
        output: str,
        source: str,
        name: str,
        style: Callable[[QgsMapLayer], None],
        run: Path | None = None,
    ) -> None:
        """Have the toolbox load one result; nothing happens where nobody asked for layers.

        Args:
            context: of this run.
            output: the output's name.
            source: of the layer.
            name: shown in the layer tree.
            style: called with the loaded layer, on the main thread.
            run: folder of the run, of which the layer's metadata and menu tell; None where it has no manifest.
        """
        project = context.project()
        if project is None:
            return

        def finish(layer: QgsMapLayer) -> None:
            style(layer)
            if run is not None:
                carry_run(layer, run)

        details = QgsProcessingContext.LayerDetails(name, project, output)
        styler = _Styler(finish)
        sip.transferto(styler, None)  # the context deletes it
        _STYLERS.append(styler)
        details.setPostProcessor(styler)
        context.addLayerToLoadOnCompletion(source, details)


class _Styler(QgsProcessingLayerPostProcessorInterface):
    """Styles a loaded result; Processing calls it on the main thread."""

    def __init__(self, style: Callable[[QgsMapLayer], None]) -> None:
        super().__init__()
        self.style = style

    def postProcessLayer(
        self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> None:
        self.style(layer)


# Owned by their contexts, but Python forgets the class of what nothing in Python refers to. Enough for some
# runs; one that is dropped while it is needed styles nothing and does no harm.
_STYLERS: deque[_Styler] = deque(maxlen=100)


def folder_parameter(what: str = "Output folder") -> QgsProcessingParameterFolderDestination:
    """The parameter OUTPUT_FOLDER; see `BackendAlgorithm.output_folder`."""
    text = f"{what} (none: a new one beside the project)"
    return QgsProcessingParameterFolderDestination("OUTPUT_FOLDER", text, None, True, False)


def advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """The parameter, shown under "Advanced parameters"."""
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
    return parameter


def _log(level: str, message: str, feedback: QgsProcessingFeedback) -> None:
    if level == "warning":
        feedback.pushWarning(message)
    else:
        feedback.pushInfo(message)
