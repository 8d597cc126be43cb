"""Configurations: what is wrong is said before anything starts."""

from pathlib import Path

import pytest

import changen2.training
from changen2.errors import InputError
from changen2.training import landcover, sources
from changen2.training.ablation import load_ablation
from changen2.training.config import load_config


def test_the_configurations_that_ship_are_valid() -> None:
    folder = Path(changen2.training.__file__).parent / "configs"
    paths = [*sorted(folder.glob("changestar*.yaml")), folder / "own_images.yaml"]
    found = [load_config(path) for path in paths]
    assert found and all(config.steps > 0 for config in found)
    # The recipes mean this project's imagery, whose names are nobody's own; the example's names are.
    assert [config.project_imagery for config in found] == [True] * (len(found) - 1) + [False]
    assert load_ablation(folder / "ablation_tiny.yaml").training["project_imagery"]
    for config in found:
        readers = {**sources.SOURCES, **landcover.SOURCES}
        assert config.project_imagery == bool(readers.keys() & config.sources.keys())


LEAST = "data: a\nout: b\nencoder_weights: c\nsources: {}\nkinds: {}\npairs: {mine: 1}\n"


@pytest.mark.parametrize("content", ["steps: -", "- a list", "data: a\nout: b\nsurprise: 1\n"])
def test_a_wrong_configuration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
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
