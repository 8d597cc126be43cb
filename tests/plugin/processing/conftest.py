"""Fixtures of the algorithms' tests: a scene that the backend draws, and a way to run an algorithm."""

import pytest
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback, QgsProject

SCENE_SIZE = 256


@pytest.fixture(scope="session")
def scene(real_backend, tmp_path_factory):
    """Paths of a simulated place at two dates: `before` and `after` by name."""
    folder = tmp_path_factory.mktemp("scene")
    return real_backend.request("sample", {"out_dir": str(folder / "scene"), "size": SCENE_SIZE})["outputs"]


class Listening(QgsProcessingFeedback):
    """Keeps what an algorithm says; `on_progress` is called at each step of it."""

    def __init__(self, on_progress=None):
        super().__init__(False)
        self.infos, self.warnings, self.errors, self.texts, self.percents = [], [], [], [], []
        self.on_progress = on_progress
        self.progressChanged.connect(self.percents.append)

    def pushInfo(self, info):
        self.infos.append(info)

    def pushWarning(self, warning):
        self.warnings.append(warning)

    def reportError(self, error, fatalError=False):
        self.errors.append(error)

    def setProgressText(self, text):
        self.texts.append(text)
        if self.on_progress is not None:
            self.on_progress(text)


@pytest.fixture
def run(provider):
    """A function that runs an algorithm: results, whether it succeeded, what it said, and its context."""

    def run_algorithm(name, parameters, on_progress=None):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"changen2:{name}")
        context, feedback = QgsProcessingContext(), Listening(on_progress)
        context.setProject(QgsProject.instance())
        acceptable, reason = algorithm.checkParameterValues(parameters, context)
        assert acceptable, reason
        results, succeeded = algorithm.run(parameters, context, feedback, catchExceptions=True)
        return Run(results, succeeded, feedback, context)

    return run_algorithm


class Run:
    def __init__(self, results, succeeded, feedback, context):
        self.results, self.succeeded, self.feedback, self.context = results, succeeded, feedback, context

    @property
    def error(self):
        return " ".join(self.feedback.errors)
