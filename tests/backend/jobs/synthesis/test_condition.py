"""The classes of labels as those that a generator draws."""

from changen2.gpcm.classes import OPEN_EARTH_MAP
from changen2.jobs.synthesis.condition import generator_numbers
from changen2.models.registry import card_of


def test_each_class_is_drawn_as_the_one_that_stands_for_it() -> None:
    card = card_of("tiny", "synthesize")
    own = {entry.index: entry.name for entry in card.classes}
    numbers, strange = generator_numbers(OPEN_EARTH_MAP, card)
    assert not strange
    assert {name: own[int(numbers[index])] for index, name in OPEN_EARTH_MAP.names.items()} == {
        "unknown": "background", "bareland": "land", "rangeland": "vegetation", "developed space": "land",
        "road": "road", "tree": "vegetation", "water": "water", "agriculture": "vegetation", "building": "building",
    }  # fmt: skip
