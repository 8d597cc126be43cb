"""What is remembered of the models, where the lists of algorithms get their names from."""

import pytest

from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.detect_change import DetectChange
from changen2_qgis.processing.finetune import FinetuneDetector

CARDS = [
    {"name": "tiny", "task": "detect", "installed": True},
    {"name": "pools", "task": "detect", "installed": True},
    {"name": "absent", "task": "detect", "installed": False},
    {"name": "start", "task": "detect", "installed": True, "training_start": True},
    {"name": "big", "task": "synthesize", "installed": True},
]


@pytest.fixture
def known(settings):
    return KnownModels()


def test_before_the_backend_has_told_anything_there_is_what_is_built_in(known):
    assert known.names("detect") == ["tiny", "tiny-landcover"]
    assert known.names("synthesize") == ["tiny"]


def test_installed_models_are_remembered_also_by_another_session(known):
    known.tell(CARDS)
    for each in (known, KnownModels()):
        assert each.names("detect") == ["tiny", "tiny-landcover", "pools"]
        assert each.names("detect", starts=True) == ["tiny", "tiny-landcover", "pools", "start"]
        assert each.names("synthesize") == ["tiny", "big"]


def test_cards_of_what_is_built_in_are_not_offered_for_change(known):
    known.tell(CARDS)
    assert known.own("detect") == ["pools"]


def test_a_model_that_was_removed_is_forgotten(known):
    known.tell(CARDS)
    known.tell(CARDS[:1])
    assert known.names("detect") == ["tiny", "tiny-landcover"]


@pytest.mark.parametrize("stored", ["", "{}", "[[1]]", "no JSON"])
def test_settings_that_somebody_else_wrote_are_ignored(known, settings, stored):
    settings.known_models = stored
    assert known.names("detect") == ["tiny", "tiny-landcover"]


def test_all_cards_are_passed_on(known, qtbot):
    with qtbot.waitSignal(known.changed) as told:
        known.tell(CARDS)
    assert told.args == [CARDS]


@pytest.mark.parametrize(("algorithm", "offered"), [(DetectChange, False), (FinetuneDetector, True)])
def test_dialogs_offer_the_installed_models(known, algorithm, offered):
    class Told:
        known_models = known

    known.tell(CARDS)
    algorithm = algorithm(Told()).create()
    parameter = algorithm.parameterDefinition("MODEL")
    hints = parameter.metadata()["widget_wrapper"]["value_hints"]
    assert "pools" in hints and ("start" in hints) is offered
    assert parameter.defaultValue() in hints
