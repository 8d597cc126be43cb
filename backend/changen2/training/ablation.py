"""What kind of training pair helps: the same detector trained on one kind after the other, and measured alike.

``python -m changen2.training.ablation --data FOLDER --out runs/ablation --steps 480 --seeds 0 1 2`` trains every arm of
the configuration with every seed, measures each, and writes ``results.json`` and ``results.md``. A run that was
stopped goes on where it stopped; what is trained already is not trained again. Processes with other ``--arms`` or
``--seeds`` may run beside it into the same folder; the last one then writes the whole table.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from changen2.errors import InputError
from changen2.models.changestar_tiny import ChangeStarTiny
from changen2.training.calibrate import best_bias, shift_bias
from changen2.training.config import TrainingConfig, read_config
from changen2.training.held_out import held_out_pairs
from changen2.training.loop import Imagery, read_imagery, train
from changen2.training.measure import Counts, alarm_rate, f1, made_pair_counts, precision, real_pair_counts, recall
from changen2.training.pairs import Pair
from changen2.training.sources import read_south_tyrol

logger = logging.getLogger(__name__)

CONFIG = Path(__file__).parent / "configs" / "ablation_tiny.yaml"
FIGURES = "figures.json"
STILL = "no change"
RESAMPLES = 2000


class Ablation(BaseModel):
    """Arms that differ in their pairs alone.

    Attributes:
        training: fields of ``TrainingConfig`` that all arms share.
        arms: fields of ``TrainingConfig`` of each arm, ``kinds`` and ``pairs``.
        calibration: fields of ``TrainingConfig`` for the held-out pairs that give each arm its bias.
        measure_crop_size: side of the pairs made of places that were never trained on, pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: dict[str, Any]
    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    calibration: dict[str, Any]
    measure_crop_size: int = 192

    def config(self, data: Path, out: Path, **changes: object) -> TrainingConfig:
        """A configuration of the shared fields and some more."""
        return TrainingConfig.model_validate({**self.training, "data": data, "out": out, **changes})


def measure(model: ChangeStarTiny, data: Path, config: TrainingConfig) -> dict[str, Counts]:
    """Counts of every image, by set: real pairs, and pairs made of South Tyrol, of which nothing is trained on.

    Args:
        model: calibrated, so that 0.5 is its threshold.
        data: folder with ``eval`` and ``val``.
        config: how pairs are made of single dates.
    """
    places = read_south_tyrol(data / "val" / "south_tyrol")
    return {
        "levir": real_pair_counts(model, data / "eval" / "levir"),
        "dsifn": real_pair_counts(model, data / "eval" / "dsifn"),
        "south tyrol": made_pair_counts(model, places, config, ["region", "create", "mixed"], 60),
        STILL: made_pair_counts(model, places, config, ["none"], 60),
    }


def train_arm(config: TrainingConfig, imagery: Imagery, pairs: Sequence[Pair]) -> tuple[ChangeStarTiny, float]:
    """Train one arm with one seed, or go on with it; return the calibrated detector and its bias."""

    def tell(step: int, steps: int, means: dict[str, float]) -> None:
        if means:
            logger.info("%s: step %d of %d: %s", config.out.name, step, steps, means)

    model = train(config, imagery, resumed=True, on_step=tell).eval()
    bias = best_bias(model, pairs)
    shift_bias(model, bias)
    return model, bias


def run(ablation: Ablation, data: Path, out: Path, arms: Sequence[str], seeds: Sequence[int]) -> None:
    """Train and measure arms with seeds, one after the other; those whose figures are there are left.

    Args:
        ablation: the arms.
        data: folder with ``train``, ``val`` and ``eval``.
        out: gets a folder for each arm and seed.
        arms: which to run.
        seeds: of everything, one run each.
    """
    calibration = ablation.config(data / "train", out, **ablation.calibration)
    torch.set_num_threads(calibration.threads)
    everything = {name: 1.0 for arm in arms for name in ablation.arms[arm].get("pairs", {})}
    imagery = read_imagery(calibration.model_copy(update={"pairs": everything}))
    held_out = held_out_pairs(imagery, calibration)
    seen = calibration.model_copy(update={"crop_size": ablation.measure_crop_size})
    for seed in seeds:
        for arm in arms:
            folder = out / f"{arm}_{seed}"
            if (folder / FIGURES).exists():
                continue
            config = ablation.config(data / "train", folder, **ablation.arms[arm], seed=seed)
            model, bias = train_arm(config, imagery, held_out)
            counts = measure(model, data, seen)
            figures = {"arm": arm, "seed": seed, "steps": config.steps, "bias": bias}
            figures["counts"] = {name: rows.tolist() for name, rows in counts.items()}
            (folder / FIGURES).write_text(json.dumps(figures), encoding="utf-8")
            scores = {name: round(f1(rows), 3) for name, rows in counts.items() if name != STILL}
            logger.info("%s: bias %.2f, F1 %s, false alarms %.5f", folder.name, bias, scores, alarm_rate(counts[STILL]))


Runs = dict[str, dict[int, dict[str, Counts]]]
"""By arm, seed and set."""


def read_runs(out: Path) -> Runs:
    """All runs of a folder that are measured."""
    runs: Runs = {}
    for path in sorted(out.glob(f"*/{FIGURES}")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        counts = {name: np.array(rows) for name, rows in figures["counts"].items()}
        runs.setdefault(figures["arm"], {})[figures["seed"]] = counts
    return runs


def over_seeds(seeds: Sequence[Counts], measured: Callable[[Counts], float]) -> NDArray[np.float64]:
    """Mean over seeds of a pooled figure, for all images first and then for resampled ones ``[1 + RESAMPLES]``.

    The same images are drawn for every seed, and for every arm of the same set, so that arms may be subtracted.
    """
    rng = np.random.default_rng(0)
    images = len(seeds[0])
    draws = [np.arange(images), *rng.integers(images, size=(RESAMPLES, images))]
    return np.array([np.mean([measured(counts[draw]) for counts in seeds]) for draw in draws])


def interval(values: NDArray[np.float64]) -> dict[str, float]:
    """The first value, and where 95 % of the resampled ones that follow lie."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def summarize(runs: Runs, steps: int) -> dict[str, Any]:
    """Figures of every arm and set, with 95 % bootstrap intervals over images and the spread over seeds.

    Args:
        runs: what was measured.
        steps: of each run.

    Returns:
        ``steps``. ``arms``: by arm and set ``f1`` and ``iou`` (mean over seeds: value, low, high), ``f1_by_seed``,
        ``precision`` and ``recall``; of the pairs without change ``alarms`` (share of pixels) instead.
        ``differences``: by set and ``"a - b"`` the difference of the arms' F1 on the same images.
    """
    arms: dict[str, Any] = {}
    drawn: dict[str, dict[str, NDArray[np.float64]]] = {}
    for arm, seeds in runs.items():
        arms[arm] = {"seeds": sorted(seeds)}
        for name in next(iter(seeds.values())):
            rows = [seeds[seed][name] for seed in sorted(seeds)]
            if name == STILL:
                each = [alarm_rate(counts) for counts in rows]
                arms[arm][name] = {"alarms": interval(over_seeds(rows, alarm_rate)), "alarms_by_seed": each}
                continue
            values = drawn.setdefault(name, {})[arm] = over_seeds(rows, f1)
            arms[arm][name] = {
                "f1": interval(values),
                "iou": interval(over_seeds(rows, iou)),
                "f1_by_seed": [f1(counts) for counts in rows],
                "precision": float(np.mean([precision(counts) for counts in rows])),
                "recall": float(np.mean([recall(counts) for counts in rows])),
            }
    differences = {
        name: {f"{a} - {b}": interval(values[a] - values[b]) for a in values for b in values if a != b}
        for name, values in drawn.items()
    }
    return {"steps": steps, "arms": arms, "differences": differences}


def iou(counts: Counts) -> float:
    """Intersection over union of pixels pooled over images, which F1 fixes."""
    return f1(counts) / (2 - f1(counts))


def shown(figure: Mapping[str, float]) -> str:
    """A value with its interval."""
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def table(summary: Mapping[str, Any], order: Sequence[str]) -> str:
    """The summary in Markdown: F1 of each arm and set, false alarms, and what the arms differ by on ``levir``."""
    arms = [arm for arm in order if arm in summary["arms"]]
    sets = [name for name in summary["arms"][arms[0]] if name not in (STILL, "seeds")]
    seeds = "; ".join(f"{arm}: {', '.join(map(str, summary['arms'][arm]['seeds']))}" for arm in arms)
    lines = [
        f"After {summary['steps']} steps. Seeds: {seeds}.",
        "",
        "| trained on | " + " | ".join(f"{name}: F1 [95 %], seeds" for name in sets) + " | false alarms, % |",
        "| --- |" + " --- |" * (len(sets) + 1),
    ]
    for arm in arms:
        figures = summary["arms"][arm]
        cells = []
        for name in sets:
            by_seed = figures[name]["f1_by_seed"]
            cells.append(f"{shown(figures[name]['f1'])}, {min(by_seed):.3f}–{max(by_seed):.3f}")
        cells.append(f"{100 * figures[STILL]['alarms']['value']:.3f}")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    lines += ["", "| difference of F1 | " + " | ".join(sets) + " |", "| --- |" + " --- |" * len(sets)]
    for index, b in enumerate(arms):
        for a in arms[index + 1 :]:
            cells = [shown(summary["differences"][name][f"{a} - {b}"]) for name in sets]
            lines.append(f"| {a} − {b} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what the command line asks for and write the results of all that is measured by then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds train, val and eval")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=int, help="of each arm; default: the configuration's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", help="default: all")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ablation = read_config(arguments.config, Ablation)
    if arguments.steps:
        ablation = ablation.model_copy(update={"training": {**ablation.training, "steps": arguments.steps}})
    arms = arguments.arms or list(ablation.arms)
    unknown = [arm for arm in arms if arm not in ablation.arms]
    if unknown:
        raise InputError(f"There is no arm {unknown[0]!r}.", hint=f"Known: {', '.join(ablation.arms)}.")
    run(ablation, arguments.data, arguments.out, arms, arguments.seeds)
    summary = summarize(read_runs(arguments.out), ablation.training["steps"])
    (arguments.out / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (arguments.out / "results.md").write_text(table(summary, list(ablation.arms)), encoding="utf-8")


if __name__ == "__main__":
    main()
