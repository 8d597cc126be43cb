"""How good a detector is: on held-out single dates, on pairs made of them, and on real pairs.

``python -m changen2.training.measure WEIGHTS --config FILE --val FOLDER --eval FOLDER...`` prints all figures as JSON,
the way the model card holds them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from changen2.models.changestar_tiny import ChangeStarTiny, building_map
from changen2.models.detection import normalize
from changen2.training.bootstrap import Score, bootstrap
from changen2.training.config import TrainingConfig, load_config
from changen2.training.crops import Crop, resample
from changen2.training.examples import make_pair
from changen2.training.export import load_exported
from changen2.training.pairs import Pair
from changen2.training.places import IGNORE, Bytes, Place
from changen2.training.sources import read_south_tyrol

Counts = NDArray[np.float64]  # one row per image: true positives, false positives, false negatives, pixels


def count(probability: NDArray[np.float32], label: Bytes, threshold: float = 0.5) -> list[float]:
    """Confusion counts of one image, pixels of unknown label left out."""
    known = label != IGNORE
    found, true = (probability >= threshold) & known, (label == 1) & known
    return [float((found & true).sum()), float((found & ~true).sum()), float((~found & true).sum()), float(known.sum())]


def f1(counts: Counts) -> float:
    """F1 of counts pooled over images; 0 where there is nothing to find and nothing found."""
    true, false, missed, _ = counts.sum(axis=0)
    return float(2 * true / max(1.0, 2 * true + false + missed))


def precision(counts: Counts) -> float:
    """Share of what was found that is true."""
    return float(counts[:, 0].sum() / max(1.0, counts[:, :2].sum()))


def recall(counts: Counts) -> float:
    """Share of what is true that was found."""
    return float(counts[:, 0].sum() / max(1.0, counts[:, [0, 2]].sum()))


def alarm_rate(counts: Counts) -> float:
    """Share of all pixels that are called change though they are not."""
    return float(counts[:, 1].sum() / max(1.0, counts[:, 3].sum()))


def f1_score(counts: Counts) -> Score:
    """Pooled F1 with the interval of a bootstrap over images."""
    return bootstrap(lambda rows: f1(counts[rows]), len(counts))


def to_input(image: NDArray[np.floating] | Bytes) -> torch.Tensor:
    """``[h, w, 3]`` in 0..255 to the detector's ``[1, 3, h, w]``."""
    return normalize(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).permute(2, 0, 1)[None])


@torch.inference_mode()
def detect(model: nn.Module, before: Crop | Place, after: Crop | Place) -> dict[str, NDArray[np.float32]]:
    """Probabilities ``[h, w]`` of one pair by key; of a head with classes, the first."""
    device = next(model.parameters()).device
    detection = model.eval()(*(to_input(date.image).to(device) for date in (before, after)))
    return {key: value[0, 0].cpu().numpy() for key, value in detection.items()}


def building_counts(model: ChangeStarTiny, places: Sequence[Place], gsd: float | None = None) -> Counts:
    """Counts of the building map of single dates, at their own sampling distance or at ``gsd`` metres."""
    crops = []
    for place in places:
        factor = place.gsd / (gsd or place.gsd)
        shape = (round(place.label.shape[0] * factor), round(place.label.shape[1] * factor))
        crops.append(resample(place, slice(None), slice(None), shape))
    return np.array([count(building_map(model, np.moveaxis(crop.image, -1, 0)), crop.label) for crop in crops])


def made_pairs(places: Sequence[Place], config: TrainingConfig, kinds: Iterable[str], pairs: int) -> Iterator[Pair]:
    """``pairs`` pairs made of places by the training's own rules, the same every time."""
    sources = {name: [place for place in places if place.source == name] for name in {p.source for p in places}}
    uniform = config.model_copy(update={"sources": dict.fromkeys(sorted(sources), 1.0)})
    kinds = list(kinds)
    for index in range(pairs):
        rng = np.random.default_rng((1_000_003, index))
        yield make_pair(sources, uniform, kinds[index % len(kinds)], rng)


def made_pair_counts(
    model: ChangeStarTiny, places: Sequence[Place], config: TrainingConfig, kinds: Iterable[str], pairs: int
) -> Counts:
    """Counts of change on :func:`made_pairs`."""
    made = made_pairs(places, config, kinds, pairs)
    return np.array([count(detect(model, pair.before, pair.after)["change"], pair.change) for pair in made])


def real_pairs(root: Path) -> list[tuple[Crop, Crop, Bytes]]:
    """Pairs of a folder in the LEVIR-CD layout: A, B and label, the same file name in each."""
    pairs = []
    for path in sorted((root / "A").iterdir()):
        label = (np.asarray(Image.open(root / "label" / path.name).convert("L")) > 0).astype(np.uint8)
        first, second = (np.asarray(Image.open(root / date / path.name).convert("RGB"), np.float32) for date in "AB")
        pairs.append((Crop(first, label), Crop(second, label), label))
    return pairs


def real_pair_counts(model: ChangeStarTiny, root: Path) -> Counts:
    """Counts of change on real pairs."""
    return np.array([count(detect(model, before, after)["change"], label) for before, after, label in real_pairs(root)])


def report(counts: Counts) -> dict[str, Any]:
    """F1 with its interval, precision, recall and number of images, rounded as a card shows them."""
    score = f1_score(counts)
    return {
        "f1": round(score.value, 3),
        "f1_low": round(score.low, 3),
        "f1_high": round(score.high, 3),
        "precision": round(precision(counts), 3),
        "recall": round(recall(counts), 3),
        "images": len(counts),
    }


def measure_all(model: ChangeStarTiny, config: TrainingConfig, val: Path, evals: Sequence[Path]) -> dict[str, Any]:
    """Every figure of the model card, at threshold 0.5."""
    places = read_south_tyrol(val)
    still = made_pair_counts(model, places, config, ["none"], 60)
    figures: dict[str, Any] = {
        f"{folder.name}: change, zero-shot": report(real_pair_counts(model, folder)) for folder in evals
    }
    figures["south_tyrol: buildings at 0.27 m"] = report(building_counts(model, places))
    figures["south_tyrol: buildings at 0.45 m"] = report(building_counts(model, places, 0.45))
    figures["south_tyrol: change in made pairs"] = report(
        made_pair_counts(model, places, config, ["region", "create", "mixed"], 60)
    )
    figures["south_tyrol: false alarms where only light and 2 px of shift differ"] = round(alarm_rate(still), 5)
    return figures


def main() -> None:
    """Print the figures of exported weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True, help="folder of single dates with masks")
    parser.add_argument("--eval", type=Path, nargs="*", default=[], help="folders of pairs in the LEVIR-CD layout")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    model = load_exported(arguments.weights, config)
    print(json.dumps(measure_all(model, config, arguments.val, arguments.eval), indent=2))


if __name__ == "__main__":
    main()
