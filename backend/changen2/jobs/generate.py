"""Make a change data set of single-date images: the generate job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from changen2.gpcm.synthesis import Generator
from changen2.jobs.cluster.crew import Crew, crew
from changen2.jobs.cluster.precision import device_noted, for_all_workers, precision_here
from changen2.jobs.generation.files import LAYERS, Delivery, make_files
from changen2.jobs.generation.plan import DatasetPlan, make_plan, orders, with_view_shift
from changen2.jobs.generation.sources import Source
from changen2.jobs.runs.folder import run_folder
from changen2.jobs.runs.journal import Journal, begun_as
from changen2.jobs.runs.manifest import describe_file, describe_input, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.jobs.synthesis.model_defaults import settled, unheard
from changen2.models.registry import ModelCard, card_of, load_generator
from changen2.protocol import GenerateRequest, validate
from changen2.raster.gdal import gdal_environment
from changen2.raster.writing import disk_errors

RESULTS = "|".join((*LAYERS, "list", r"manifest\.json"))
"""Names of what a data set's folder holds."""

SPLITS = ("train", "val")

PER_PAIR = ("create", "remove", "edit")

EDITION = 9
"""Raised where pairs follow from a request in another way than before: an unfinished set of another is not resumed."""


def generate(
    image_dir: str | Path,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Make a change data set in the LEVIR-CD layout of a folder of single-date images.

    Writes ``A/ B/ label/ semantic_A/ semantic_B/ list/`` and ``manifest.json``. A label is 255 where something
    changed. Pairs depend on the seed and their number alone, not on how many processes draw them.

    Args:
        image_dir: the folder; see ``GenerateRequest`` for it and every option.
        out_dir: folder for the data set.
        on_progress: receives ``Progress``.
        is_cancelled: asked between pairs.
        **options: fields of ``GenerateRequest``; ``pairs`` is needed.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind but finished pairs, if any: ``resume`` goes on after them.
        JobError: the job failed; as above.
        Cancelled: ``is_cancelled`` said so; as above.
    """
    request = validate(GenerateRequest, {"image_dir": image_dir, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: GenerateRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request with the generator that it names."""
    card = card_of(request.model, "synthesize")
    return run_with(request, card, partial(load_generator, card), reporter)


def run_with(
    request: GenerateRequest, card: ModelCard, load: Callable[[], Generator], reporter: Reporter
) -> dict[str, Any]:
    """Run a validated request with a generator that each process loads for itself; ``load`` must be picklable."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    asked, request = request, with_view_shift(settled(request, card))
    folder = run_folder(request, RESULTS, (request.image_dir, request.labels, request.classes, request.transitions))
    with gdal_environment(), _threads_restored():
        plan = make_plan(request, card, load, reporter)
        with folder, crew(request.workers, request.dask, request.device) as hands:
            begun = begun_as(folder.work) if folder.goes_on else {}
            plan = _in_one_precision(plan, request, hands, begun, reporter)
            inputs = _inputs(request, plan)
            journal = Journal(folder.work, _identity(request, card, plan, inputs))
            workers = hands.size  # some may have left when all is drawn
            drawn = _draw(request, plan, hands, folder.work, journal, reporter)
            names = _write_lists(folder.work, plan, journal)
            summary = _summary(request, plan, journal)
            summary |= {"drawn_now": drawn, "model": card.name, "seconds": round(time.monotonic() - clock, 2)}
            warnings = [
                *plan.warnings,
                *unheard(asked, request),
                *_shortfall(request, plan, summary),
                *_idle_parts(request, plan, journal),
            ]
            outputs = {name.split(".")[0]: name for name in (*LAYERS, "list", "manifest.json")}
            manifest = _manifest(request, card, plan, inputs, workers, began, names, journal)
            manifest |= {"summary": summary, "warnings": warnings, "outputs": outputs}
            write_manifest(folder.work / "manifest.json", manifest)
            placed = folder.publish(list(outputs.values()))
    return {
        "outputs": {key: str(placed[name]) for key, name in outputs.items()},
        "summary": summary,
        "warnings": warnings,
    }


def _draw(
    request: GenerateRequest, plan: DatasetPlan, hands: Crew, work: Path, journal: Journal, reporter: Reporter
) -> int:
    """Draw the pairs that are not there yet; return how many these were."""
    for layer in LAYERS:
        (work / layer).mkdir(exist_ok=True)
    numbers = {source: number for number, source in enumerate(plan.sources)}
    done = {entry["pair"] for entry in journal.blocks}
    todo = (order for order in orders(request, plan) if order.number not in done)
    reporter.step("generate", len(done), request.pairs)
    for count, delivery in enumerate(hands.in_order(partial(make_files, plan.workshop), todo, reporter.check), 1):
        name = pair_name(delivery.number, delivery.place.source)
        files = {work / layer / name: delivery.files[layer] for layer in LAYERS}
        for path, pixels in files.items():
            with disk_errors(path):
                path.write_bytes(pixels)
        journal.add(files, **_entry(delivery, numbers[delivery.place.source]))
        reporter.step("generate", len(done) + count, request.pairs)
    return request.pairs - len(done)


def pair_name(number: int, source: Source) -> str:
    """The file name of a pair: its split, its number from 1, the centimetres of a pixel."""
    return f"{source.split}_{number + 1:05d}_{max(1, round(source.gsd * 100))}.png"


def _entry(delivery: Delivery, source: int) -> dict[str, int]:
    place = delivery.place
    kinds = {kind: delivery.kinds.get(kind, 0) for kind in PER_PAIR}
    where = {"source": source, "top": place.top, "left": place.left}
    return {"pair": delivery.number, "changed_px": delivery.changed_px, **where, **kinds}


def _write_lists(work: Path, plan: DatasetPlan, journal: Journal) -> dict[int, str]:
    """Write ``list/train.txt`` and ``list/val.txt``; return the name of every pair."""
    (work / "list").mkdir(exist_ok=True)
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    names = {}
    for entry in sorted(journal.blocks, key=lambda entry: entry["pair"]):
        source = plan.sources[entry["source"]]
        names[entry["pair"]] = pair_name(entry["pair"], source)
        lines[source.split].append(names[entry["pair"]])
    for split, mine in lines.items():
        (work / "list" / f"{split}.txt").write_text("".join(f"{name}\n" for name in mine), encoding="utf8")
    return names


def _summary(request: GenerateRequest, plan: DatasetPlan, journal: Journal) -> dict[str, Any]:
    events: Counter[str] = Counter()
    for entry in journal.blocks:
        events.update({kind: entry[kind] for kind in PER_PAIR if entry[kind]})
    changed = [entry["changed_px"] for entry in journal.blocks if entry["changed_px"]]
    share = sum(changed) / (len(changed) * request.size**2) if changed else 0.0
    return {
        "pairs": len(journal.blocks),
        "changed_pairs": len(changed),
        "change_share": round(share, 5),
        "events": dict(events),
        "images": len({source.image for source in plan.sources}),
        "kind": plan.kind,
    }


def _shortfall(request: GenerateRequest, plan: DatasetPlan, summary: dict[str, Any]) -> list[str]:
    wanted = sum(order.changes for order in orders(request, plan))
    if summary["changed_pairs"] >= wanted:
        return []
    return [
        f"{wanted - summary['changed_pairs']} of {wanted} pairs that should have changed did not: no event fitted "
        "between the least and the most share of change. Allow other shares (--least-change, --most-change), or more "
        "objects (--most)."
    ]


def _idle_parts(request: GenerateRequest, plan: DatasetPlan, journal: Journal) -> list[str]:
    changed = {plan.sources[entry["source"]].split for entry in journal.blocks if entry["changed_px"]}
    if not changed or not 0 < request.val_share < 1:
        return []
    return [
        f"No pair in list/{split}.txt has changed, so nothing can be {purpose}. Make more pairs (--pairs) or smaller "
        "ones (--size), hold out another share (--val-share), or give more images."
        for split, purpose in (("train", "learned from it"), ("val", "measured on it"))
        if split not in changed
    ]


def _in_one_precision(
    plan: DatasetPlan, request: GenerateRequest, hands: Crew, begun: dict[str, Any], reporter: Reporter
) -> DatasetPlan:
    """A plan with the device of one worker; pairs are all drawn in its precision, or as the run has begun."""
    asked = request.device, request.precision
    ((device, precision),) = hands.in_order(precision_here, [asked], reporter.check)
    if request.dask is not None:
        device = device_noted(device, begun.get("device"), request.device, hands.on_gpus)
    if "precision" in begun and request.precision == "auto":
        precision = begun["precision"]
    elif request.dask is not None:
        precision = for_all_workers(precision, request.precision, request.device, hands.on_gpus)
    return replace(plan, device=device, workshop=replace(plan.workshop, precision=precision))


def _inputs(request: GenerateRequest, plan: DatasetPlan) -> dict[str, Any]:
    """What the pairs are made of, by kind; parts of one image are of the same files."""
    images = dict.fromkeys(source.image for source in plan.sources)
    labels = dict.fromkeys(source.labels for source in plan.sources if source.labels)
    rasters = {"images": images, "labels": labels}
    tables = {"classes": request.classes, "transitions": request.transitions}
    return {
        **{kind: [describe_input(path) for path in paths] for kind, paths in rasters.items() if paths},
        **{kind: describe_file(path) for kind, path in tables.items() if path},
    }


def _identity(request: GenerateRequest, card: ModelCard, plan: DatasetPlan, inputs: dict[str, Any]) -> dict[str, Any]:
    """Everything that the pairs depend on; a run resumes only with the same, by as many processes as one likes."""
    return {
        "versions": versions(),
        "edition": EDITION,
        "model": card.sha256,
        "inputs": inputs,
        "parameters": request.model_dump(exclude={"out_dir", "resume", "overwrite", "workers", "dask"}),
        "device": plan.device,
        "precision": plan.workshop.precision,
    }


def _manifest(
    request: GenerateRequest,
    card: ModelCard,
    plan: DatasetPlan,
    inputs: dict[str, Any],
    workers: int,
    began: datetime,
    names: dict[int, str],
    journal: Journal,
) -> dict[str, Any]:
    """What made the data set, and for every pair where it was cut and what happened there."""
    return {
        "job": "generate",
        "began": began.isoformat(),
        "versions": versions(),
        "edition": EDITION,
        "model": card.model_dump(include={"name", "title", "sha256", "licence", "noncommercial"}),
        "inputs": inputs,
        "parameters": request.model_dump(),
        "kind": plan.kind,
        "classes": dict(plan.classes.names),
        "label": {"0": "no change", "255": "change"},
        "semantic": "class numbers, 255 unknown" if plan.kind == "S9" else "255 object, 0 none",
        "workers": workers,
        "threads": 1,
        "device": plan.device,
        "precision": plan.workshop.precision,
        "sources": [
            {
                "image": source.image,
                "labels": source.labels,
                "part": astuple(source.part),
                "split": source.split,
                "gsd_m": source.gsd,
            }
            for source in plan.sources
        ],
        "pairs": [
            {"name": names[entry["pair"]], **{key: value for key, value in entry.items() if key != "pair"}}
            for entry in sorted(journal.blocks, key=lambda entry: entry["pair"])
        ],
    }


@contextmanager
def _threads_restored() -> Iterator[None]:
    """Pairs are drawn with one thread; what this process does afterwards has its own number again."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
