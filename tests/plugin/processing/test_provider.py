"""The provider lists what the plugin has, under ids that scripts rely on."""

from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QImage

from changen2_qgis.processing.shipped_model import ShippedModel


def test_ids(provider):
    assert provider.id() == "changen2"
    assert {algorithm.id() for algorithm in provider.algorithms()} >= {
        "changen2:detectchange",
        "changen2:vectorizechange",
        "changen2:continuerun",
        "changen2:simulateevents",
        "changen2:synthesizechange",
        "changen2:finetune",
        "changen2:assessaccuracy",
        "changen2:samplepoints",
        "changen2:synthesizedetectassess",
        "changen2:setupbackend",
    }


def test_every_algorithm_explains_itself(provider):
    for algorithm in provider.algorithms():
        assert algorithm.displayName() and len(algorithm.shortHelpString()) > 80
        assert all(definition.description() for definition in algorithm.parameterDefinitions())


def test_help_has_whole_paragraphs_and_pictures(provider):
    for name in ("detectchange", "assessaccuracy", "simulateevents", "synthesizechange"):
        first, picture, *rest = provider.algorithm(name).shortHelpString().split("\n")
        assert len(first) > 80 and rest  # QGIS makes a paragraph of each line
        path = QUrl(picture.split('"')[1]).toLocalFile()
        assert not QImage(path).isNull()


def test_algorithms_share_the_backend(provider, real_backend):
    for algorithm in provider.algorithms():
        if not isinstance(algorithm, ShippedModel):
            assert algorithm.create().backend is real_backend
