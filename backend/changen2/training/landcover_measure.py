"""How good a detector that tells land cover is: classes of held-out places, change in made pairs and in real ones.

``python -m changen2.training.landcover_measure WEIGHTS --encoder FILE --config FILE --eval FOLDER...`` prints the
figures as JSON, the way the model card holds them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from changen2.models.changestar_landcover import CLASSES, ChangeStarLandCover
from changen2.models.changestar_tiny import pad_to_stride
from changen2.scenes.classes import BUILDING
from changen2.scenes.classes import CLASSES as NAMES
from changen2.training.bootstrap import Score, bootstrap
from changen2.training.config import TrainingConfig, load_config
from changen2.training.crops import Cut
from changen2.training.landcover_pairs import cut_classes
from changen2.training.landcover_train import NETWORKS, held_out_pairs, part, read_imagery
from changen2.training.loop import Imagery
from changen2.training.measure import Counts, alarm_rate, count, detect, f1, real_pairs, report, to_input
from changen2.training.pairs import Pair
from changen2.training.places import IGNORE, Bytes, Place

GSD = 1.0  # metres at which classes are measured
BUILDING_GSD = 0.8  # and those at which buildings are, where only these are known


def load_trained(weights: Path, encoder: Path, config: TrainingConfig) -> ChangeStarLandCover:
    """The detector from its own weights and the file that holds its encoder."""
    model = NETWORKS[config.network](config.encoder)
    shared = {key: value for key, value in load_file(encoder).items() if key.startswith("encoder.")}
    model.load_state_dict(shared | load_file(weights))
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def class_map(model: ChangeStarLandCover, image: NDArray[np.floating]) -> Bytes:
    """The likeliest class, 1 to 5, of one date ``[h, w, 3]``."""
    height, width = image.shape[:2]
    logits = model.eval().semantic_logits(pad_to_stride(to_input(image)))[0, :, :height, :width]
    classes: Bytes = (logits.argmax(dim=0) + 1).numpy().astype(np.uint8)
    return classes


def confusion(model: ChangeStarLandCover, places: Sequence[Place], gsd: float = GSD) -> NDArray[np.int64]:
    """Pixels ``[true, found]`` of the classes 0 to 5 over places seen at ``gsd`` metres, where the class is known."""
    table = np.zeros((CLASSES + 1, CLASSES + 1), np.int64)
    for place in places:
        height, width = (max(1, round(side * place.gsd / gsd)) for side in place.label.shape)
        size = max(height, width)
        crop = cut_classes(place, Cut(slice(None), slice(None), (height, width), size, 0, False))
        image, label = crop.image[:height, :width], crop.label[:height, :width]
        known = label <= CLASSES
        np.add.at(table, (label[known], class_map(model, image)[known]), 1)
    return table


def class_report(table: NDArray[np.int64]) -> dict[str, Any]:
    """Overall accuracy and intersection over union of each class."""
    hit = np.diag(table).astype(float)
    union = np.maximum(table.sum(0) + table.sum(1) - hit, 1)
    iou = {NAMES[index][0]: round(float(hit[index] / union[index]), 3) for index in range(1, CLASSES + 1)}
    return {"accuracy": round(float(hit.sum() / max(1, table.sum())), 3), "iou": iou}


def pair_counts(model: nn.Module, pairs: Sequence[Pair]) -> Counts:
    """Counts of change at 0.5 on made pairs."""
    return np.array([count(detect(model, pair.before, pair.after)["change"], pair.change) for pair in pairs])


def everything(labels: Sequence[Bytes]) -> Counts:
    """Counts of calling all of it change."""
    return np.array([count(np.ones(label.shape, np.float32), label) for label in labels])


def gain(counts: Counts, other: Counts) -> Score:
    """F1 of ``counts`` less that of ``other``, with the interval of a paired bootstrap over images."""
    return bootstrap(lambda rows: f1(counts[rows]) - f1(other[rows]), len(counts), resamples=2000)


def real_report(model: nn.Module, root: Path) -> dict[str, Any]:
    """Change in real pairs, and by how much it is better than calling everything change."""
    pairs = real_pairs(root)
    counts = np.array([count(detect(model, before, after)["change"], label) for before, after, label in pairs])
    better = gain(counts, everything([label for *_, label in pairs]))
    return {
        **report(counts),
        "above_everything": round(better.value, 3),
        "above_everything_low": round(better.low, 3),
        "above_everything_high": round(better.high, 3),
    }


def measure_all(
    model: ChangeStarLandCover, config: TrainingConfig, imagery: Imagery, evals: Sequence[Path]
) -> dict[str, Any]:
    """Every figure of the model card, at threshold 0.5."""
    kept = part(imagery, held_out=True)
    still = held_out_pairs(imagery, config.model_copy(update={"kinds": {"none": 1.0}, "pairs": {}}))
    figures: dict[str, Any] = {f"{root.name}: change, zero-shot": real_report(model, root) for root in evals}
    for source, kinds in (("dubai", {"star": 0.3, "region": 0.7}), ("landcover_scenes", {"region": 1.0})):
        if source in kept.places:
            figures[f"{source}, held out: classes at {GSD:g} m"] = class_report(confusion(model, kept.places[source]))
            alone = _alone(config, source, kinds)
            figures[f"{source}, held out: change in made pairs"] = report(
                pair_counts(model, held_out_pairs(imagery, alone))
            )
    if "south_tyrol" in kept.places:
        alone = _alone(config, "south_tyrol", {"region": 1.0})
        figures[f"south_tyrol: buildings at {BUILDING_GSD:g} m"] = building_report(model, kept.places["south_tyrol"])
        figures["south_tyrol: change in made pairs"] = report(pair_counts(model, held_out_pairs(imagery, alone)))
    figures["held out: false alarms where nothing but light, season and shift differ"] = round(
        alarm_rate(pair_counts(model, still)), 4
    )
    return figures


def _alone(config: TrainingConfig, source: str, kinds: dict[str, float]) -> TrainingConfig:
    """The configuration with pairs made of one source; where anything may change, objects do."""
    made = {"objects": 1.0} if config.network == "anything" else kinds
    return config.model_copy(update={"sources": {source: 1.0}, "kinds": made, "pairs": {}})


def building_report(model: ChangeStarLandCover, places: Sequence[Place], gsd: float = BUILDING_GSD) -> dict[str, Any]:
    """Buildings of single dates of which only these are known."""
    rows = []
    for place in places:
        height, width = (round(side * place.gsd / gsd) for side in place.label.shape)
        crop = cut_classes(place, Cut(slice(None), slice(None), (height, width), max(height, width), 0, False))
        label = np.where(crop.label == IGNORE, IGNORE, crop.label == BUILDING).astype(np.uint8)[:height, :width]
        found = (class_map(model, crop.image[:height, :width]) == BUILDING).astype(np.float32)
        rows.append(count(found, label))
    return report(np.array(rows))


def main() -> None:
    """Print the figures of exported weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--encoder", type=Path, required=True, help="weights file that holds the encoder")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--eval", type=Path, nargs="*", default=[], help="folders of pairs in the LEVIR-CD layout")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    torch.set_num_threads(config.threads)
    model = load_trained(arguments.weights, arguments.encoder, config)
    print(json.dumps(measure_all(model, config, read_imagery(config), arguments.eval), indent=2))


if __name__ == "__main__":
    main()
