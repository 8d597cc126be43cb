"""Train a detector further on pairs of one's own: the finetune job."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import nn

from changen2.errors import InputError
from changen2.jobs.detection.calibrated import written_threshold
from changen2.jobs.learning.material import Material, files_of, read_material
from changen2.jobs.learning.register import require_free
from changen2.jobs.learning.terms import under_terms
from changen2.jobs.runs.folder import check_apart, is_unfinished
from changen2.jobs.runs.journal import stamps
from changen2.jobs.runs.manifest import read_manifest, versions, write_manifest
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.models import store
from changen2.models.changestar import ChangeStar
from changen2.models.devices import choose_device, default_threads
from changen2.models.registry import ModelCard, cards, load_model
from changen2.protocol import FinetuneRequest, validate
from changen2.raster.calibration import Tally, best_threshold, calibration
from changen2.raster.gdal import gdal_environment
from changen2.raster.output_folder import OutputFolder
from changen2.raster.writing import disk_errors
from changen2.redaction import redacted
from changen2.training.export import compact
from changen2.training.finetune import Trained, check, judge, say_yes_or_no, settings
from changen2.training.finetune import finetune as train
from changen2.training.places import BUILDING
from changen2.training.run import CHECKPOINT
from changen2.training.watched import Watched

FEW = 20
"""Pairs or tiles with change below which a model is seldom worth using."""

KEPT = ("licence", "noncommercial", "credits", "input", "architecture_summary", "parameters")
"""What a new card takes over from that of the model it began with, as far as what was learned from lets it."""

NOTE = "At the best threshold; the held-out pairs also chose the step and the calibration."
"""Why a figure of theirs is somewhat better than what other images will show."""


def finetune(
    name: str,
    out_dir: str | Path,
    *,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train a detector further and add it to the installed models.

    Args:
        name: of the new model.
        out_dir: folder for the run.
        on_progress: receives ``Progress`` of the stages ``read``, ``train`` and ``measure``.
        is_cancelled: asked at every step, and at every pair that is read or looked at; a run that is cancelled once it
            trains leaves a checkpoint to resume from.
        **options: fields of ``FinetuneRequest``.

    Returns:
        ``outputs`` (name → path), ``summary`` and ``warnings``.

    Raises:
        InputError: bad input; nothing is left behind.
        JobError: the models' folder does not take the weights.
        Cancelled: ``is_cancelled`` said so.
    """
    request = validate(FinetuneRequest, {"name": name, "out_dir": out_dir, **options})
    return run(request, Reporter(on_progress, is_cancelled))


def run(request: FinetuneRequest, reporter: Reporter) -> dict[str, Any]:
    """Run a validated request."""
    began, clock = datetime.now(timezone.utc), time.monotonic()
    _check_folder(request)
    folder = OutputFolder(
        request.out_dir,
        overwrite=request.overwrite,
        resume=request.resume,
        resumable=lambda work: (work / CHECKPOINT).exists(),
        unfinished=is_unfinished,
    )
    asked = folder.work / "request.json"
    replaces = request.overwrite or (folder.goes_on and _read(asked).get("replaces") is True)
    base = base_card(request, replaces)
    with folder, gdal_environment():
        wanted = _wanted(request, base)
        _remember(wanted, replaces, asked)
        material = read_material(request, base, reporter)
        check(material.pairs)
        torch.manual_seed(request.seed)  # a start of training may lack heads
        model = load_model(base)
        kinds = say_yes_or_no(model, request.seed)
        held_out = Watched([pair for pair in material.pairs if pair.before.held_out], reporter.check)
        reporter.step("measure", 0, 2)
        before = None if base.training_start or kinds else judge(model, held_out)
        reporter.step("measure", 1, 2)
        trained = _train(request, model, material, folder.work, reporter)
        _remember(wanted, True, asked)  # from here on the model of this name is this run's own
        card = store.write_model(new_card(request, base, material, trained, kinds), compact(trained.model))
        reporter.step("measure", 2, 2)
        summary = _summary(card, base, material, trained, before)
        warnings = [*material.warnings, *_terms(card, base), *_warnings(material, summary, kinds)]
        manifest = {
            "job": "finetune",
            "began": began.isoformat(),
            "versions": versions(),
            "model": card.model_dump(include={"name", "title", "sha256", "licence", "noncommercial"}),
            "began_with": base.model_dump(include={"name", "sha256", "licence"}),
            "inputs": material.sources,
            "parameters": request.model_dump(exclude={"resume", "overwrite"}),
            "seconds": round(time.monotonic() - clock, 1),
            "summary": summary,
            "warnings": warnings,
        }
        write_manifest(folder.work / "manifest.json", manifest)
        placed = folder.publish(["log.jsonl", "manifest.json"])
    outputs = {"weights": str(store.weights_file(card.name)), "log": str(placed["log.jsonl"])}
    return {
        "outputs": {**outputs, "manifest": str(placed["manifest.json"])},
        "summary": summary,
        "warnings": warnings,
    }


def _check_folder(request: FinetuneRequest) -> None:
    """Refuse to put the manifest of a training in the place of another job's, which other runs are told by.

    Raises:
        InputError: ``input_in_output``, ``not_empty``.
    """
    of_pairs = None if request.pairs is None else str(Path(request.pairs, "manifest.json"))
    inputs = (request.before, request.after, request.changes, request.aoi, of_pairs)
    check_apart(request.out_dir, r"manifest\.json|log\.jsonl", inputs)
    job = read_manifest(Path(request.out_dir)).get("job", "finetune")
    if job != "finetune":
        raise InputError(
            f"{request.out_dir} holds the results of another job ({job}).",
            hint="Choose another folder for the training.",
            code="not_empty",
        )


def base_card(request: FinetuneRequest, replaces: bool) -> ModelCard:
    """Return the card of the model to begin with, once the new one's name is known to be free.

    Args:
        request: names both.
        replaces: whether an installed model of the new one's name may be replaced.

    Raises:
        InputError: ``unknown_model``, ``not_installed``, ``bad_name`` or ``name_taken``.
    """
    require_free(request.name, replaces)
    known = {name: card for (task, name), card in cards().items() if task == "detect"}
    if request.model in known:
        return known[request.model]
    if request.model in store.CATALOGUE:
        raise store.not_installed(request.model)
    raise InputError(
        f"There is no detector {request.model!r} to begin with; known: {', '.join(known)}.",
        hint="Run `changen2 models list` to see what is installed.",
        code="unknown_model",
    )


def _wanted(request: FinetuneRequest, base: ModelCard) -> dict[str, Any]:
    """All that a run depends on: what was asked for, the model that it begins with, the state of its files."""
    asked = request.model_dump(exclude={"out_dir", "title", "device", "threads", "resume", "overwrite"})
    return redacted({**asked, "began_with": base.sha256, "files": stamps(files_of(request))})


def _remember(wanted: dict[str, Any], replaces: bool, path: Path) -> None:
    """Note what a run depends on and whether it may replace a model, and refuse to go on with another."""
    if before := _read(path):
        differing = [key for key in wanted if wanted[key] != before.get(key)]
        if differing == ["files"]:
            now, then = wanted["files"], before.get("files", {})
            changed = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
            raise InputError(
                f"Files that the unfinished run learns from have changed ({len(changed)}, {changed[0]} among them): it "
                "may have learned from what is held out now.",
                hint="Put them back to go on with it, or start anew (--overwrite).",
                code="bad_value",
            )
        if differing:
            raise InputError(
                f"The unfinished run was asked for other values of {', '.join(differing)}.",
                hint="Give the same again to go on with it, or start anew (--overwrite).",
                code="bad_value",
            )
    with disk_errors(path):
        path.write_text(json.dumps({**wanted, "replaces": replaces}), encoding="utf8")


def _read(path: Path) -> dict[str, Any]:
    """What a run was asked for; empty where nothing was noted."""
    return json.loads(path.read_text(encoding="utf8")) if path.exists() else {}


def _train(request: FinetuneRequest, model: nn.Module, material: Material, out: Path, reporter: Reporter) -> Trained:
    config = settings(
        out, material.gsd, steps=request.steps, batch_size=request.batch_size, crop_size=request.crop_size,
        learning_rate=request.learning_rate, seed=request.seed, threads=request.threads or default_threads(),
    )  # fmt: skip
    device = choose_device(request.device)
    return train(
        model,
        material.pairs,
        config,
        device,
        request.resume,
        lambda step, steps, _: reporter.step("train", step, steps),
        reporter.check,
    )


def new_card(request: FinetuneRequest, base: ModelCard, material: Material, trained: Trained, kinds: int) -> ModelCard:
    """Return the new model's card; its weights' digest is filled in when they are written.

    For ``kinds`` see :func:`changen2.training.finetune.say_yes_or_no`.
    """
    kind = request.kind.strip() or "changed object"
    title = request.title.strip() or f"{kind[0].upper()}{kind[1:]}: trained here"
    _, score = best_threshold(trained.held_out)
    folders = [request.pairs] if request.pairs else [Path(str(date)).parent for date in (request.before, request.after)]
    kept = under_terms({name: value for name, value in base.model_dump().items() if name in KEPT}, map(Path, folders))
    return ModelCard.model_validate(
        {
            **kept,
            "name": request.name,
            "architecture": _architecture(base, trained.model),
            "title": title,
            "summary": f"Finds {kind} that came or went. {base.name}, trained further on {_counted(material)}."
            + (f" {_new_layer(kinds)}" if kinds else ""),
            "classes": _classes(base, kind),
            "gsd_min": round(material.gsd * 0.8, 3),
            "gsd_max": round(material.gsd * 1.25, 3),
            "gsd_native": round(material.gsd, 3),
            "tile_size": base.tile_size,
            "overlap": base.overlap,
            "threshold": round(trained.threshold, 3),
            "sha256": "",
            "embedded": False,
            "origin": f"trained here from {base.name}",
            "installed_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "began_with": {"name": base.name, "sha256": base.sha256},
            "training": {
                "pairs": len(material.pairs),
                "steps": trained.steps,
                "best_step": trained.best_step,
                "seconds": round(trained.seconds, 1),
                "seed": request.seed,
            },
            "measured": {
                "held out: change": {"f1": round(score, 3), "images": _held_out(material)},
                "note": NOTE,
            },
            "calibration": calibration(trained.held_out),
        }
    )


def _architecture(base: ModelCard, model: nn.Module) -> str:
    # A published name ends in the channels of both heads, which training may have changed.
    if isinstance(model, ChangeStar):
        semantic, change = (model.get_submodule(f"head.{head}_conv.0") for head in ("semantic", "change"))
        return f"{base.architecture.rpartition('-')[0]}-s{semantic.out_channels}c{change.out_channels}"
    return base.architecture


def _new_layer(kinds: int) -> str:
    return f"The last layer of its change head, which told {kinds} kinds of change, was learned anew from these alone."


def _classes(base: ModelCard, kind: str) -> list[dict[str, Any]]:
    """Two classes are the background and what is looked for, which is now another; more stay as they are."""
    classes = [item.model_dump() for item in base.classes]
    return classes if len(classes) != 2 else [classes[0], {**classes[1], "name": kind}]


def _counted(material: Material) -> str:
    return f"{len(material.pairs) - _held_out(material)} pairs of {material.gsd:.2g} m"


def _held_out(material: Material) -> int:
    return sum(pair.before.held_out for pair in material.pairs)


def _summary(
    card: ModelCard, base: ModelCard, material: Material, trained: Trained, before: Tally | None
) -> dict[str, Any]:
    _, score = best_threshold(trained.held_out)
    return {
        "model": card.name,
        "began_with": base.name,
        "pairs": len(material.pairs) - _held_out(material),
        "pairs_with_change": sum(bool((pair.change.label == BUILDING).any()) for pair in material.pairs),
        "held_out_pairs": _held_out(material),
        "held_out_f1": round(score, 3),
        "held_out_f1_before": None if before is None else round(best_threshold(before)[1], 3),
        "held_out_note": NOTE,
        "threshold": round(written_threshold(card), 3),
        "gsd_m": round(material.gsd, 3),
        "steps": trained.steps,
        "best_step": trained.best_step,
        "seconds": round(trained.seconds, 1),
    }


def _terms(card: ModelCard, base: ModelCard) -> list[str]:
    if card.noncommercial == base.noncommercial:
        return []
    return [
        f"Unlike {base.name}, {card.name} is not for commercial use: a generator under {card.licence} drew the images "
        "that it learned from, and so it is under this licence, too."
    ]


def _warnings(material: Material, summary: dict[str, Any], kinds: int) -> list[str]:
    warnings = [f"{summary['began_with']}: {_new_layer(kinds)}"] if kinds else []
    if summary["pairs_with_change"] < FEW:
        warnings.append(
            f"Only {summary['pairs_with_change']} of {len(material.pairs)} pairs hold a change; with {FEW} or more a "
            "model is far surer of itself."
        )
    was = summary["held_out_f1_before"]
    if was is not None and summary["held_out_f1"] <= was:
        warnings.append(f"On the held-out pairs the model is no better than {summary['began_with']} was (F1 {was}).")
    return warnings
