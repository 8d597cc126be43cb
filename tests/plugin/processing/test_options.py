"""Whatever a user sets reaches the work: each option of each algorithm has its own say in what is asked for."""

from types import SimpleNamespace

import numpy as np
import pytest
from qgis.core import (
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.assess_accuracy import AssessAccuracy
from changen2_qgis.processing.detect_change import DetectChange
from changen2_qgis.processing.draw_sample_points import DrawSamplePoints
from changen2_qgis.processing.finetune import FinetuneDetector
from changen2_qgis.processing.simulate_events import SimulateEvents
from changen2_qgis.processing.synthesize_change import SynthesizeChange
from changen2_qgis.processing.vectorize_change import VectorizeChange
from changen2_qgis.temporal import Timeline

NEEDED = {
    # algorithm: bands of its rasters, their parameters, what else it cannot do without
    DetectChange: (3, ("BEFORE", "AFTER"), {}),
    SynthesizeChange: (3, ("IMAGE",), {"SIMULATE": "create"}),
    SimulateEvents: (1, ("LABELS",), {}),
    FinetuneDetector: (3, ("BEFORE", "AFTER"), {"NAME": "mine"}),
    AssessAccuracy: (1, ("PREDICTION", "REFERENCE"), {}),
    VectorizeChange: (1, ("PROBABILITY",), {}),
    DrawSamplePoints: (1, ("CHANGE",), {}),
}
OTHER = {"GSD": "0.7", "SIMULATE": "remove"}
"""Values of the options that cannot have any."""

ASKED_AS = {
    "BANDS_BEFORE": "bands",
    "QUALITY": "sampling_steps",
    **dict.fromkeys(("START_DATE", "INTERVAL", "INTERVAL_UNIT"), "timeline"),
    **dict.fromkeys(("EXPECTED_CHANGE", "EXPECTED_NO_CHANGE"), "expected"),
}
"""Of the options that are not asked for under their own name."""


@pytest.fixture
def backend(settings):
    return SimpleNamespace(last_hello=object(), settings=settings, known_models=KnownModels())


@pytest.fixture
def needed(tmp_path, write_raster):
    """A function that gives an algorithm what it cannot do without."""

    def give(kind):
        bands, rasters, more = NEEDED[kind]
        path = write_raster(tmp_path / "map.tif", np.ones((bands, 20, 30), np.uint8))
        return {name: QgsRasterLayer(path, "map") for name in rasters} | {"OUTPUT_FOLDER": str(tmp_path / "r")} | more

    return give


def asked(algorithm, parameters):
    """All that an algorithm makes of its parameters but layers and files."""
    context = QgsProcessingContext()
    job = algorithm.create().prepare_job(parameters, context, QgsProcessingFeedback())
    if isinstance(job, dict):
        return job
    plain = {name: value for name, value in vars(job).items() if isinstance(value, (int, float, tuple, Timeline))}
    return {**plain, "overwrite": job.folder.overwrite, **getattr(job, "request", {})}


def files_of(parameters):
    """Layers by their files: QGIS keeps the frame that it was called from where it was told of an error."""
    return {name: value.source() if isinstance(value, QgsRasterLayer) else value for name, value in parameters.items()}


def layers_of(algorithm):
    """The names of the parameters that take a layer."""
    return [each.name() for each in algorithm.parameterDefinitions() if each.type() in ("raster", "layer", "source")]


def another(parameter, tmp_path):
    """A value that is not the default; None for layers, and for fields of layers and what stands for these."""
    name, default = parameter.name(), parameter.defaultValue()
    if name in OTHER:
        return OTHER[name]
    if isinstance(parameter, QgsProcessingParameterNumber):
        low, high = parameter.minimum(), min(parameter.maximum(), parameter.minimum() + 10)
        values = [low + share * (high - low) for share in (0.4, 0.6)]
        whole = parameter.dataType() == parameter.Type.Integer
        return next(value for value in (map(round, values) if whole else values) if value != default)
    if isinstance(parameter, QgsProcessingParameterBoolean):
        return not default
    if isinstance(parameter, QgsProcessingParameterEnum):
        return next(option for option in parameter.options() if option != default)
    if isinstance(parameter, QgsProcessingParameterBand):
        return [3, 2, 1]
    if isinstance(parameter, QgsProcessingParameterDateTime):
        return "2020-01-01"
    if isinstance(parameter, QgsProcessingParameterFile):
        (tmp_path / "classes.csv").write_text("index,name\n0,a\n")
        return str(tmp_path / "classes.csv")
    if type(parameter) is QgsProcessingParameterString and not name.endswith("_VALUE"):
        return "7"
    return None


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.ID)
def test_every_option_has_its_own_say(backend, needed, tmp_path, kind):
    algorithm, given = kind(backend).create(), needed(kind)
    options = {parameter.name(): another(parameter, tmp_path) for parameter in algorithm.parameterDefinitions()}
    expected, changed = {}, {}
    for name, value in options.items():
        if value is None or (kind, name) == (SimulateEvents, "BANDS"):  # of an image, which is not given
            continue
        start = {"START_DATE": "2020-01-01"} if name.startswith("INTERVAL") else {}
        plain, other = (asked(algorithm, {**given, **start, **more}) for more in ({}, {name: value}))
        changed[name] = {key for key in plain.keys() | other.keys() if plain.get(key) != other.get(key)}
        expected[name] = {ASKED_AS.get(name, name.lower())}
    if kind is SimulateEvents:  # it asks for drawn events or for kinds of events, never both
        expected["SIMULATE"] = {"events"}
    assert changed == expected and "OVERWRITE" in changed


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.ID)
def test_an_empty_text_is_no_layer(backend, needed, kind):
    """As models, scripts and `qgis_process` hand on what is not given."""
    algorithm, given = kind(backend).create(), needed(kind)
    plain = asked(algorithm, given)
    optional = [name for name in layers_of(algorithm) if name not in given]
    assert asked(algorithm, {**given, **dict.fromkeys(optional, "")}) == plain


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.ID)
def test_a_layer_that_is_gone_is_not_taken_for_none(backend, needed, tmp_path, kind):
    """Also in a model, which checks nothing of what it hands on."""
    drawn = QgsProject.instance().addMapLayer(QgsVectorLayer("Polygon", "drawn", "memory")).id()
    algorithm, given = kind(backend).create(), files_of({"CHANGES": drawn, **needed(kind)})
    assert set(NEEDED[kind][1]) <= set(layers_of(algorithm))
    for name in layers_of(algorithm):
        context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
        context.setProject(QgsProject.instance())
        parameters = {**given, name: str(tmp_path / "gone.gpkg")}
        _, succeeded = algorithm.create().run(parameters, context, feedback, catchExceptions=True)
        assert not succeeded and name in feedback.textLog(), feedback.textLog()
    QgsProject.instance().removeMapLayer(drawn)


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.ID)
def test_a_model_may_hand_on_empty_texts_for_all_that_has_a_default(backend, needed, kind):
    drawn, feature = QgsVectorLayer("Polygon?crs=EPSG:32633", "drawn", "memory"), QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(500002, 4999990, 500005, 4999995)))
    drawn.dataProvider().addFeature(feature)
    algorithm, given = kind(backend).create(), {"CHANGES": drawn, **needed(kind)}
    optional = [each.name() for each in algorithm.parameterDefinitions() if each.name() not in given]
    feedback = QgsProcessingFeedback()
    assert algorithm.prepare({**dict.fromkeys(optional, ""), **given}, QgsProcessingContext(), feedback), (
        feedback.textLog()
    )


def test_each_expected_share_is_that_of_its_own_stratum(backend, needed):
    shares = {"EXPECTED_NO_CHANGE": 0.9, "EXPECTED_CHANGE": 0.4}
    job = asked(DrawSamplePoints(backend), {**needed(DrawSamplePoints), **shares})
    assert job["expected"] == (0.9, 0.4)
