"""Configurations: what is wrong is said before anything starts."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import changen2.training
from changen2.errors import InputError
from changen2.training import anything_pairs, landcover, sources
from changen2.training.ablation import Ablation
from changen2.training.config import KINDS, TrainingConfig, load_config, read_config
from changen2.training.crops import Crop
from changen2.training.landcover_pairs import dates_of
from changen2.training.pairs import second_date


def test_the_configurations_that_ship_are_valid() -> None:
    folder = Path(changen2.training.__file__).parent / "configs"
    paths = [*sorted(folder.glob("changestar*.yaml")), folder / "own_images.yaml"]
    found = [load_config(path) for path in paths]
    assert found and all(config.steps > 0 for config in found)
    # The recipes mean this project's imagery, whose names are nobody's own; the example's names are.
    assert [config.project_imagery for config in found] == [True] * (len(found) - 1) + [False]
    assert read_config(folder / "ablation_tiny.yaml", Ablation).training["project_imagery"]
    for config in found:
        readers = {**sources.SOURCES, **landcover.SOURCES}
        assert config.project_imagery == bool(readers.keys() & config.sources.keys())


LEAST = "data: a\nout: b\nencoder_weights: c\nsources: {}\nkinds: {}\npairs: {mine: 1}\n"


@pytest.mark.parametrize("content", ["steps: -", "- a list", "data: a\nout: b\nsurprise: 1\n", "data: Zürich\n"])
def test_a_wrong_configuration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="not valid"):
        load_config(path)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "line", ["steps: 0", "batch_size: 0", "learning_rate: 0", "gsd_range: [0.6, 0.3]", "gsd_range: [0, 0.3]"]
)
def test_a_number_that_nothing_can_be_learned_with_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(LEAST)
    assert load_config(path).pairs == {"mine": 1}
    path.write_text(LEAST + line)
    with pytest.raises(InputError, match=line.split(":")[0]):
        load_config(path)


@pytest.mark.parametrize(
    ("mix", "told"),
    [
        ({"kinds": {"creat": 1, "star": 1}}, "creat; a buildings network knows star, region, create"),
        ({"kinds": {"create": 1}, "network": "landcover"}, "create; a landcover network knows star, region, none"),
        ({"kinds": {"star": -1, "none": 2}}, "greater than or equal to 0"),
        ({"sources": {"town": float("nan")}}, "finite"),
        ({"kinds": {"star": 0}, "pairs": {"town": 0}}, "nothing to train on"),
        ({"sources": {"town": 0}}, "no weight above 0"),
    ],
)
def test_a_mix_that_cannot_be_drawn_from_is_refused(mix: dict[str, object], told: str) -> None:
    given = {"data": "a", "out": "b", "encoder_weights": "", "sources": {"town": 1}, "kinds": {"star": 1}}
    assert TrainingConfig.model_validate({**given, "kinds": {}, "pairs": {"town": 1}, "sources": {}})
    with pytest.raises(ValidationError, match=told):
        TrainingConfig.model_validate({**given, **mix})


@pytest.mark.parametrize("network", KINDS)
def test_every_kind_that_is_known_is_another(network: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 64, 3)).astype(np.float32)
    label = np.zeros((64, 64), np.uint8)
    label[4:14, 4:14] = 1
    base, donor = Crop(image, label), Crop(255 - image, label[::-1])
    for kind in KINDS[network]:
        rng = np.random.default_rng(1)
        if network == "anything":
            first, second, _ = anything_pairs.dates_of(base, lambda: donor, kind, rng)
        else:
            dates = second_date if network == "buildings" else lambda *given: dates_of(*given)[0]
            first, second = base, dates(base, lambda: donor, kind, rng)
        same = np.array_equal(first.image, second.image)
        assert same == (kind == "none"), kind
