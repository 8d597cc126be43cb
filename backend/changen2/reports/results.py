"""The tables of ``docs/results.md``: ``make results`` measures the embedded detectors and writes them anew.

``python -m changen2.reports.results --data FOLDER`` measures every embedded detector and two simple peers on pairs that
nothing was trained on, takes over what the ablation and the fine-tuning benchmark left in ``runs/``, keeps all figures
in ``docs/results.json``, and rewrites what stands between the markers of the page. ``--tables`` only rewrites.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from changen2.errors import Changen2Error, InputError
from changen2.jobs.detection.calibrated import scaling_of, written_threshold
from changen2.models.registry import ModelCard, cards, load_model, weights_path
from changen2.raster.calibration import calibration, tally
from changen2.reports.worse_imagery import measure_worse, worse_table
from changen2.training import ablation
from changen2.training.ablation import interval, over_seeds, shown
from changen2.training.config import read_config
from changen2.training.crops import Crop
from changen2.training.measure import Counts, alarm_rate, count, detect, f1, made_pairs, precision, real_pairs, recall
from changen2.training.places import BUILDING, IGNORE, Bytes
from changen2.training.sources import read_south_tyrol

Probability = NDArray[np.floating]
Look = Callable[[Crop, Crop], Probability]
"""From two dates to the probability of change ``[h, w]``."""

PairSet = list[tuple[Crop, Crop, Bytes]]

REAL = {"levir": "LEVIR-CD, 11 crops", "dsifn": "DSIFN-CD, 10 crops"}
MADE = {"made": "South Tyrol, 60 made pairs", "still": "South Tyrol, 60 pairs without change"}


def pair_sets(data: Path) -> dict[str, PairSet]:
    """Pairs to measure on; none of their labels was trained on.

    Raises:
        InputError: the folder lacks them.
    """
    if not (data / "eval").is_dir() or not (data / "val").is_dir():
        raise InputError(f"{data} does not hold eval and val.", hint="Give the folder of the imagery with --data.")
    arms = read_config(ablation.CONFIG, ablation.Ablation)
    config = arms.config(data / "train", Path("runs"), **arms.calibration, crop_size=arms.measure_crop_size)
    places = read_south_tyrol(data / "val" / "south_tyrol")
    made = {"made": ["region", "create", "mixed"], "still": ["none"]}
    return {
        **{name: real_pairs(data / "eval" / name) for name in REAL},
        **{
            name: [(pair.before, pair.after, pair.change) for pair in made_pairs(places, config, kinds, 60)]
            for name, kinds in made.items()
        },
    }


def looks_of(card: ModelCard) -> Look:
    """A detector as a detection writes it: its probability, scaled where its card says so."""
    model, scaling = load_model(card), scaling_of(card)

    def look(before: Crop, after: Crop) -> Probability:
        probability = detect(model, before, after)["change"]
        return scaling(probability) if scaling else probability

    return look


def difference(before: Crop, after: Crop) -> Probability:
    """1 where the grey values differ by more than Otsu's threshold of their differences, else 0."""
    differing = np.abs((after.image - before.image).mean(axis=2))
    return (differing > threshold_otsu(differing)).astype(np.float32)


def everything(before: Crop, _: Crop) -> Probability:
    """1 everywhere."""
    return np.ones(before.label.shape, np.float32)


def measure(look: Look, threshold: float, sets: Mapping[str, PairSet]) -> dict[str, Any]:
    """Figures of each set: ``f1`` and ``iou`` with intervals, ``precision``, ``recall``, ``ece``; ``alarms`` of still.

    ``over_everything`` is the difference of F1 to calling everything change, with its paired interval.
    """
    figures: dict[str, Any] = {}
    for name, pairs in sets.items():
        seen = [look(before, after) for before, after, _ in pairs]
        rows = np.array([count(p, label, threshold) for p, (_, _, label) in zip(seen, pairs, strict=True)])
        if name == "still":
            figures[name] = {"alarms": alarm_rate(rows), "pairs": len(rows)}
            continue
        values = over_seeds([rows], f1)
        base = np.array([count(everything(before, after), label) for before, after, label in pairs])
        levels = np.sum([_tally(p, label) for p, (_, _, label) in zip(seen, pairs, strict=True)], axis=0)
        figures[name] = {
            "f1": interval(values),
            "iou": interval(values / (2 - values)),
            "precision": precision(rows),
            "recall": recall(rows),
            "ece": calibration(levels)["ece"],
            "over_everything": interval(values - over_seeds([base], f1)),
            "pairs": len(rows),
        }
    return figures


def _tally(probability: Probability, label: Bytes) -> Counts:
    return tally(probability, label == BUILDING, label != IGNORE)


def measure_all(data: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Figures of the embedded detectors and of two peers that need no training."""
    sets = pair_sets(data)
    real = {name: sets[name] for name in REAL}
    embedded = sum(weights_path(card).stat().st_size for card in cards().values() if card.embedded)
    found: dict[str, Any] = {"measured": date.today().isoformat(), "megabytes": round(embedded / 1e6, 1)}
    found |= {"detectors": {}, "peers": {}}
    for (task, name), card in cards().items():
        if task == "detect" and card.embedded:
            tell(f"measuring {name}")
            figures = measure(looks_of(card), written_threshold(card), sets)
            about = {"title": card.title, "sha256": card.sha256, "megabytes": round(card.size_bytes / 1e6, 1)}
            found["detectors"][name] = {**about, "threshold": written_threshold(card), "figures": figures}
    for name, peer in (("difference and Otsu", difference), ("everything is change", everything)):
        found["peers"][name] = measure(peer, 0.5, real)
    tell("measuring worse imagery")
    found["worse"] = measure_worse(sets["levir"])
    return found


def accuracy_table(results: Mapping[str, Any]) -> str:
    """Accuracy on real pairs: embedded detectors, then peers."""
    lines = [
        "| | pairs | F1 [95 %] | IoU [95 %] | precision | recall | F1 above everything [95 %] |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, detector in results["detectors"].items():
        for key, title in {**REAL, "made": MADE["made"]}.items():
            lines.append(_accuracy_row(f"`{name}`", title, detector["figures"][key]))
    for name, figures in results["peers"].items():
        lines += [_accuracy_row(name, title, figures[key]) for key, title in REAL.items()]
    return "\n".join(lines)


def _accuracy_row(name: str, title: str, figures: Mapping[str, Any]) -> str:
    cells = [name, title, shown(figures["f1"]), shown(figures["iou"])]
    cells += [f"{figures[key]:.3f}" for key in ("precision", "recall")]
    return "| " + " | ".join([*cells, shown(figures["over_everything"])]) + " |"


def trust_table(results: Mapping[str, Any]) -> str:
    """False alarms and calibration error of the embedded detectors."""
    lines = [
        "| | false alarms, % of pixels | "
        + " | ".join(f"calibration error, {title}" for title in REAL.values())
        + " |",
        "| --- | --- |" + " --- |" * len(REAL),
    ]
    for name, detector in results["detectors"].items():
        figures = detector["figures"]
        errors = [f"{figures[key]['ece']:.3f}" for key in REAL]
        lines.append(f"| `{name}` | " + " | ".join([f"{100 * figures['still']['alarms']:.3f}", *errors]) + " |")
    return "\n".join(lines)


def about_table(results: Mapping[str, Any]) -> str:
    """Which weights were measured, and when."""
    lines = ["| model | weights | threshold | measured |", "| --- | --- | --- | --- |"]
    for name, detector in results["detectors"].items():
        weights = f"{detector['megabytes']} MB, SHA-256 {detector['sha256'][:12]}…"
        lines.append(
            f"| `{name}`: {detector['title']} | {weights} | {detector['threshold']:.2f} | {results['measured']} |"
        )
    return "\n".join([*lines, "", f"All embedded weights, the generator's too: {results['megabytes']} MB."])


def finetune_table(found: Mapping[str, Any]) -> str:
    """Fine-tuning on few pairs: each kind of change, length and start."""
    lines = [
        "| what | steps | begun with | F1, mean | by seed | at the best threshold | seconds | gain, points |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, lengths in found.items():
        for steps, length in lengths.items():
            for start, known in length.items():
                title = "ImageNet features, new heads" if start == "imagenet" else f"`{start}`"
                scores, seconds = (", ".join(str(run[key]) for run in known["runs"]) for key in ("f1", "seconds"))
                gain = f"{known['gain_points']:+.1f}" if "gain_points" in known else ""
                lines.append(
                    f"| {kind} | {steps} | {title} | {known['f1']:.3f} | {scores} | {known['best_f1']:.3f} "
                    f"| {seconds} | {gain} |"
                )
    return "\n".join(lines)


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Every table that the figures allow, by its marker."""
    made: dict[str, str] = {}
    if "detectors" in results:
        made |= {"about": about_table(results), "accuracy": accuracy_table(results), "trust": trust_table(results)}
    if "worse" in results:
        made["worse"] = worse_table(results["worse"])
    if "ablation" in results:
        order = list(read_config(ablation.CONFIG, ablation.Ablation).arms)
        made["ablation"] = ablation.table(results["ablation"], order).strip()
    if "finetune" in results:
        made["finetune"] = finetune_table(results["finetune"])
    return made


def fill(page: str, made: Mapping[str, str]) -> str:
    """Put tables between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        InputError: the page lacks a marker.
    """
    for name, table in made.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise InputError(f"The page has no place for the table {name!r}.", hint=f"Add {begin} and {end}.")
        page = f"{head}{begin}\n{table}\n{end}{tail}"
    return page


def gather(
    kept: Path, data: Path | None, runs: Sequence[tuple[str, Path]], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Bring the kept figures up to date: what is measured now, and what other commands left."""
    results: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if data is not None:
        results |= measure_all(data, tell)
    results |= {name: json.loads(path.read_text(encoding="utf-8")) for name, path in runs if path.exists()}
    return results


def main() -> int:
    """Measure, keep the figures, rewrite the page; 2 where the input is not usable."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds eval and val")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds ablation/results.json and finetune.json")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    kept = given.page.with_suffix(".json")
    runs = [("ablation", given.runs / "ablation" / "results.json"), ("finetune", given.runs / "finetune.json")]
    try:
        results = gather(kept, None if given.tables else given.data, runs, lambda text: print(text, file=sys.stderr))
        page = fill(given.page.read_text(encoding="utf-8"), tables(results))
    except Changen2Error as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2
    kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    given.page.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
