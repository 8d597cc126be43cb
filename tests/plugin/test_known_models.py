"""What is remembered of the models, where the lists of algorithms get their names from."""

import pytest

from changen2_qgis.errors import BackendError
from changen2_qgis.known_models import KnownModels
from changen2_qgis.processing.detect_change import DetectChange
from changen2_qgis.processing.finetune import FinetuneDetector

CARDS = [
    {"name": "tiny", "task": "detect", "installed": True, "embedded": True},
    {"name": "pools", "task": "detect", "installed": True},
    {"name": "absent", "task": "detect", "installed": False},
    {"name": "start", "task": "detect", "installed": True, "training_start": True},
    {"name": "big", "task": "synthesize", "installed": True},
]


@pytest.fixture
def known(settings):
    return KnownModels()


def test_before_the_backend_has_told_anything_there_is_what_is_built_in(known):
    assert known.names("detect") == ["tiny", "tiny-anything", "tiny-landcover"]
    assert known.names("synthesize") == ["tiny"]


def test_installed_models_are_remembered_also_by_another_session(known):
    known.tell(CARDS)
    for each in (known, KnownModels()):
        assert each.names("detect") == ["tiny", "pools"]
        assert each.names("detect", starts=True) == ["tiny", "pools", "start"]
        assert each.names("synthesize") == ["big"]
    assert known.cards == CARDS and KnownModels().cards == []


def test_cards_of_what_is_built_in_are_not_offered_for_change(known):
    known.tell(CARDS)
    assert known.names("detect", own=True) == ["pools"]


def test_a_model_that_was_removed_is_forgotten(known):
    known.tell(CARDS)
    known.tell(CARDS[:1])
    assert known.names("detect") == ["tiny"]


@pytest.mark.parametrize("stored", ["", "{}", "[[1]]", "no JSON"])
def test_settings_that_somebody_else_wrote_are_ignored(known, settings, stored):
    settings.known_models = stored
    assert known.names("detect") == ["tiny", "tiny-anything", "tiny-landcover"]


def test_all_cards_are_passed_on(known, qtbot):
    with qtbot.waitSignal(known.changed) as told:
        known.tell(CARDS)
    assert told.args == [CARDS]


@pytest.mark.parametrize(("algorithm", "offered"), [(DetectChange, False), (FinetuneDetector, True)])
def test_titles_list_the_installed_models(known, algorithm, offered):
    class Told:
        known_models = known

    known.tell(CARDS)
    algorithm = algorithm(Told()).create()
    title = algorithm.parameterDefinition("MODEL").description()
    assert "(tiny, pools" in title and ("start" in title) is offered and "absent" not in title


def test_many_models_are_not_all_listed(known):
    known.tell({"name": f"m{number}", "task": "detect"} for number in range(30))
    assert known.listed("detect").startswith("m0, m1") and known.listed("detect").endswith(", …")


def test_what_a_worker_told_last_is_not_overwritten_by_what_it_said_first(known, real_backend, monkeypatch, qtbot):
    monkeypatch.setattr(real_backend, "known_models", known)
    real_backend.request("models", {})
    told = known.cards
    known.tell([*told, {"name": "pools", "task": "detect"}])
    assert [card["name"] for card in real_backend.hello().models].count("pools") == 1
    with pytest.raises(BackendError):
        real_backend.request("no such method", {})
    assert "pools" in known.names("detect")
    real_backend.stop()
    assert "pools" not in [card["name"] for card in real_backend.hello().models], "another worker knows better"
