"""The logs of the embedded models' trainings belong to their configurations and run to their ends."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
LOGS = sorted((ROOT / "docs/training_logs").glob("*.jsonl"))


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_a_log_tells_of_every_step_of_its_configuration(path):
    configuration = yaml.safe_load((ROOT / f"backend/changen2/training/configs/{path.stem}.yaml").read_text("utf8"))
    lines = [json.loads(line) for line in path.read_text("utf8").splitlines()]
    assert [line["step"] for line in lines] == list(range(20, configuration["steps"] + 1, 20))
    assert all(isinstance(value, int | float) for line in lines for value in line.values())


def test_the_last_round_of_each_embedded_model_has_its_log():
    cards = [json.loads(path.read_text("utf8")) for path in (ROOT / "backend/changen2/weights").glob("*.json")]
    last = {card["training"]["configurations"][-1].removesuffix(".yaml") for card in cards}
    assert last and last <= {path.stem for path in LOGS}
