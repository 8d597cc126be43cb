"""What fine-tuning is worth: a new kind of change, learned from twenty pairs, with an embedded detector and without.

    make bench-finetune

Of twenty pairs every fifth is held out; sixty of other places measure. The same training runs for each seed and length
from the embedded detectors, and from ImageNet features with new heads. Prints one JSON object: F1 at the threshold
that the pairs at hand chose and at the best one, and the seconds that each training took.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import finetune_ponds
import finetune_shelters
import finetune_tarpaulins
import numpy as np
import torch

from changen2.models.registry import card_of, load_model
from changen2.raster.calibration import TOP, f1_by_threshold
from changen2.training import loop
from changen2.training.finetune import finetune, judge, settings

KINDS = {"tarpaulins": finetune_tarpaulins, "shelters": finetune_shelters, "ponds": finetune_ponds}
FRESH = "imagenet"
STARTS = ("tiny", "tiny-landcover", "tiny-anything", FRESH)


def measure(kind: str, start: str, seed: int, steps: int, given: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune from one of the starts and measure on places of its own."""
    known, unseen = KINDS[kind].examples(given.imagery, seed, given.pairs, given.measured)
    with tempfile.TemporaryDirectory() as folder:
        config = settings(Path(folder), KINDS[kind].GSD, steps=steps, threads=given.threads, seed=seed)
        model = loop.fresh(config) if start == FRESH else load_model(card_of(start))
        trained = finetune(model, known, config, torch.device("cpu"))
    scores = f1_by_threshold(judge(trained.model, unseen))
    return {
        "f1": round(float(scores[round(trained.threshold * TOP)]), 3),
        "best_f1": round(float(scores.max()), 3),
        "threshold": round(trained.threshold, 3),
        "best_step": trained.best_step,
        "seconds": round(trained.seconds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--imagery", type=Path, required=True, help="holds train, val and geo")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--measured", type=int, default=60, help="pairs to measure on")
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 300], help="lengths of the training")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for kind in given.kinds:
        for steps in given.steps:
            length = found.setdefault(kind, {})[str(steps)] = {}
            for start in STARTS:
                runs = [measure(kind, start, seed, steps, given) for seed in range(given.seeds)]
                means = {key: round(float(np.mean([run[key] for run in runs])), 3) for key in ("f1", "best_f1")}
                length[start] = {**means, "runs": runs}
            for start in STARTS[:-1]:
                length[start]["gain_points"] = round(100 * (length[start]["f1"] - length[FRESH]["f1"]), 1)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
