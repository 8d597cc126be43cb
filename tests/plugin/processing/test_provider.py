"""The provider lists what the plugin has, under ids that scripts rely on."""

from changen2_qgis.processing.shipped_model import ShippedModel


def test_ids(provider):
    assert provider.id() == "changen2"
    assert {algorithm.id() for algorithm in provider.algorithms()} >= {
        "changen2:detectchange",
        "changen2:vectorizechange",
        "changen2:assessaccuracy",
        "changen2:samplepoints",
        "changen2:synthesizedetectassess",
        "changen2:setupbackend",
    }


def test_every_algorithm_explains_itself(provider):
    for algorithm in provider.algorithms():
        assert algorithm.displayName() and len(algorithm.shortHelpString()) > 80
        assert all(definition.description() for definition in algorithm.parameterDefinitions())


def test_algorithms_share_the_backend(provider, real_backend):
    for algorithm in provider.algorithms():
        if not isinstance(algorithm, ShippedModel):
            assert algorithm.create().backend is real_backend
