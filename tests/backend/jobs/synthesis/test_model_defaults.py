"""What a request leaves to the card of its generator."""

import pytest

from changen2.errors import InputError
from changen2.jobs.synthesis.model_defaults import settled, unheard
from changen2.protocol import GenerateRequest, SynthesizeRequest


@pytest.fixture
def guided(flat_card):
    return flat_card.model_copy(update={"init": "exemplar", "label_guidance": 4.0})


def synthesis(**options):
    return SynthesizeRequest(image="a.tif", out_dir="b", **options)


def test_the_card_says_what_the_request_does_not(flat_card, guided):
    request = settled(synthesis(), guided)
    assert (request.init, request.label_guidance) == ("exemplar", 4)
    pairs = settled(GenerateRequest(image_dir="a", out_dir="b", pairs=1), guided)
    assert (pairs.init, pairs.label_guidance) == ("exemplar", 4)
    plain = settled(synthesis(), flat_card)
    assert (plain.init, plain.label_guidance) == ("noise", 1)


def test_the_request_has_the_last_word(guided):
    request = settled(synthesis(init="noise", label_guidance=1), guided)
    assert (request.init, request.label_guidance) == ("noise", 1)


def test_guidance_needs_a_model_that_was_trained_for_it(flat_card):
    assert settled(synthesis(label_guidance=1), flat_card).label_guidance == 1
    with pytest.raises(InputError, match="guidance 2 is wanted, but flat was not trained for it"):
        settled(synthesis(label_guidance=2), flat_card)


@pytest.mark.parametrize(
    ("options", "acts"),
    [
        ({"label_guidance": 5}, False),
        ({"label_guidance": 5, "exemplar_level": 0.3}, True),
        ({"label_guidance": 5, "init": "noise"}, True),
        ({"label_guidance": 1}, True),
        ({}, True),
    ],
)
def test_a_weight_that_was_asked_for_and_does_nothing_is_told(guided, options, acts):
    asked = synthesis(**options)
    told = unheard(asked, settled(asked, guided))
    assert told == [] if acts else "(5) has no effect" in told[0] and "at 0.2" in told[0]
