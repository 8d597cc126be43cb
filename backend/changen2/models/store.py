"""The models that a user installed: where they lie, what was agreed to, and whether they are still the same.

A folder of the user's own, outside the plugin and the package, so that an upgrade of either leaves it alone::

    NAME.safetensors   weights
    NAME.json          the model's card, with the digests of the weights and of the file they came from
    pins.json          the digest of each source file at its first use; another one under that name is refused
    consent.json       licences agreed to, and when
    downloads/         what is being downloaded, to be resumed, and NAME.lock: held by the process that does
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from torch import Tensor

from changen2.errors import InputError, JobError
from changen2.models.card import ModelCard
from changen2.models.catalogue import CATALOGUE, LICENCES, PublishedModel

logger = logging.getLogger(__name__)

OnBytes = Callable[[int, int], None]
PINS, CONSENT = "pins.json", "consent.json"
CHUNK = 8 << 20  # bytes read at once
SPARE = 64 << 20  # bytes to leave free on the disk
ABANDONED_S = 600  # a part that nobody has written to for so long: its process was ended


def models_folder() -> Path:
    """Return the folder of the installed models: CHANGEN2_MODELS, else the platform's place for a user's data."""
    if chosen := os.environ.get("CHANGEN2_MODELS"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "changen2" / "models"


def published(name: str) -> PublishedModel:
    """Return a model of the catalogue.

    Raises:
        InputError: ``unknown_model``.
    """
    if name not in CATALOGUE:
        raise InputError(
            f"There is no model {name!r} to install; there are: {', '.join(CATALOGUE)}.",
            hint="Run `changen2 models list` to see what each is for.",
            code="unknown_model",
        )
    return CATALOGUE[name]


def weights_file(name: str) -> Path:
    """Return where an installed model's weights lie."""
    return models_folder() / f"{name}.safetensors"


def store_cards() -> dict[str, ModelCard]:
    """Return the cards of all models that can be installed; those that are carry their digest."""
    return {name: installed_card(name) or model.card for name, model in CATALOGUE.items()}


def installed_cards() -> list[ModelCard]:
    """Return the cards of the installed models that can be chosen, without those that are only parts of others."""
    published = [card for name, card in store_cards().items() if card.installed and not CATALOGUE[name].part]
    return [*published, *own_cards()]


def own_cards() -> list[ModelCard]:
    """Return the cards of the models that were trained here."""
    names = sorted(path.stem for path in models_folder().glob("*.json") if path.name not in (PINS, CONSENT))
    found = [installed_card(name) for name in names if name not in CATALOGUE]
    return [card for card in found if card is not None]


def amend_card(name: str, **changes: object) -> ModelCard:
    """Change fields of an installed model's card; its weights stay as they are.

    Raises:
        InputError: ``not_installed``.
        JobError: ``write_failed``.
    """
    card = amendable_card(name).model_copy(update=changes)
    write_record(f"{name}.json", card.model_dump(mode="json"))
    return card


def amendable_card(name: str) -> ModelCard:
    """Return the card of an installed model, which may be changed.

    Raises:
        InputError: ``bad_value``.
    """
    card = installed_card(name)
    if card is None:
        raise InputError(
            f"{name} is not installed in {models_folder()}, so its card cannot be changed there.",
            hint="Name a model that you installed or trained; embedded ones are as they were published.",
            code="bad_value",
        )
    return card


def check_name(name: str, replace: bool = False) -> None:
    """Raise where a model trained here cannot be given this name.

    Raises:
        InputError: ``bad_name``, or ``name_taken`` unless it may be replaced; published names are always taken.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name) or f"{name}.json" in (PINS, CONSENT):
        raise InputError(
            f"A model cannot be called {name!r}.",
            hint="Use up to 63 small letters, digits, - and _, such as solar-farms.",
            code="bad_name",
        )
    if name in CATALOGUE or (_is_here(name) and not replace):
        raise InputError(
            f"There is a model {name!r} already.",
            hint="Choose another name." if name in CATALOGUE else "Choose another name, or allow overwriting.",
            code="name_taken",
        )


def installed_card(name: str) -> ModelCard | None:
    """Return an installed model's card, or None where it is not installed or cannot be read, which is logged.

    Its name is that of its files, whatever they were called when it was written.
    """
    path = models_folder() / f"{name}.json"
    try:
        if not _is_here(name):
            return None
        card = ModelCard.model_validate_json(path.read_text(encoding="utf8")).model_copy(update={"name": name})
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s; %s is left out.", path, str(error).splitlines()[0], name)
        return None
    if name in CATALOGUE and "unchanged_classes" not in card.model_fields_set:  # the card of an older installation
        return card.model_copy(update={"unchanged_classes": CATALOGUE[name].card.unchanged_classes})
    return card


def _is_here(name: str) -> bool:
    """Say whether there are files of a model of this name."""
    return (models_folder() / f"{name}.json").is_file() and weights_file(name).is_file()


def install(name: str, source: Path, origin: str, on_bytes: OnBytes = lambda done, total: None) -> ModelCard:
    """Check a file of weights and put it among the installed models; nothing is left of a failed attempt.

    Args:
        name: of a model in the catalogue.
        source: the file as published.
        origin: where it came from, for the record.
        on_bytes: told bytes read and bytes in all while the digests of the file and of what is written are made; may
            raise to cancel.

    Raises:
        InputError: ``missing_file``, ``unreadable``, ``unsafe_file``, ``wrong_weights``, ``changed`` (not the file that
            was first used under this name) or ``consent_needed``.
        JobError: ``disk_full`` or ``write_failed``.
    """
    from changen2.models.checkpoints import read_checkpoint
    from changen2.models.published import fit

    model = published(name)
    require_consent(model.card)
    if not source.is_file():
        raise InputError(f"There is no file {source}.", hint="Check the path.", code="missing_file")
    digest = sha256(source, on_bytes)
    check_pin(name, digest, source)
    _, state, _ = fit(model.card.architecture, read_checkpoint(source))
    if model.reported_sha256 and digest != model.reported_sha256:
        logger.warning(
            "%s has SHA-256 %s…; others report %s…, which this project could not verify. It is pinned as it is.",
            source.name, digest[:12], model.reported_sha256[:12],
        )  # fmt: skip
    former = installed_card(name)
    known = (former.model_extra or {}) if former else {}
    # What was measured of the very same weights on a user's own reference stays true of them.
    measured = "calibration" in known and known.get("source_sha256") == digest
    card = model.card.model_copy(
        update={
            "installed": True,
            "origin": origin,
            "source_file": source.name,
            "source_sha256": digest,
            "installed_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **({"calibration": known["calibration"]} if measured else {}),
        }
    )
    card = write_model(card, state, on_bytes)
    pin(name, digest)
    return card


def write_model(
    card: ModelCard, state: Mapping[str, Tensor], on_bytes: OnBytes = lambda done, total: None
) -> ModelCard:
    """Write weights and card under temporary names and rename them when both are whole; nothing else is left."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder = models_folder()
    parts = [folder / f".{card.name}-{os.getpid()}.{kind}.part" for kind in ("safetensors", "json")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        refuse_full_disk(folder, size)
        on_bytes(0, size)
        save_file(tensors, parts[0], metadata={"licence": card.licence, "name": card.name})
        card = card.model_copy(update={"sha256": sha256(parts[0], on_bytes), "size_bytes": parts[0].stat().st_size})
        parts[1].write_text(card.model_dump_json(indent=2), encoding="utf8")
        parts[0].replace(weights_file(card.name))
        parts[1].replace(folder / f"{card.name}.json")
    except (OSError, SafetensorError) as error:
        raise writing_failed(folder, error) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return card


def remove_abandoned(folder: Path) -> None:
    """Remove the parts of attempts whose process was ended while it wrote; those being written to stay."""
    for part in folder.glob(".*.part"):
        # Another process may be at the same, or the file be held open.
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Raise ``disk_full`` where `needed` bytes do not fit beside some spare room."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise JobError(
            f"The disk of {folder} has {free / 1e6:,.0f} MB free; {(needed + SPARE) / 1e6:,.0f} MB are needed.",
            hint="Free some space, or set CHANGEN2_MODELS to a folder on another disk.",
            code="disk_full",
        )


def writing_failed(folder: Path, error: Exception) -> JobError:
    """What to say when the models' folder does not take a file."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    return JobError(
        f"{folder} did not take the weights: {error}",
        hint="Free some space, or set CHANGEN2_MODELS to another folder that you may write to; nothing was installed.",
        code="disk_full" if full else "write_failed",
    )


def verify(name: str, on_bytes: OnBytes = lambda done, total: None) -> ModelCard:
    """Compare an installed model with the digest taken when it was installed.

    Raises:
        InputError: ``not_installed`` or ``tampered``.
    """
    published(name)
    card = installed_card(name)
    if card is None:
        raise not_installed(name)
    found = sha256(weights_file(name), on_bytes)
    if found != card.sha256:
        raise InputError(
            f"{weights_file(name)} is not what was installed: SHA-256 {found[:12]}…, expected {card.sha256[:12]}….",
            hint=f"The file is damaged or was exchanged; install {name} again.",
            code="tampered",
        )
    return card


def not_installed(name: str) -> InputError:
    """What to say of a model that could be here and is not."""
    return InputError(
        f"{name} is not installed in {models_folder()}.",
        hint=f"Run `changen2 models download {name}`, or `changen2 models import {name} FILE`.",
        code="not_installed",
    )


def check_pin(name: str, digest: str, source: Path) -> None:
    """Raise ``changed`` where another file was the first one used under this name."""
    first = record(PINS).get(name)
    if first and first != digest:
        raise InputError(
            f"{source.name} is not the file first used as {name}: SHA-256 {digest[:12]}…, first {first[:12]}….",
            hint=f"Ask the source which is right. To trust the new one, remove {name} from {models_folder() / PINS}.",
            code="changed",
        )


def pin(name: str, digest: str) -> None:
    """Remember the digest of a model's source file at its first use."""
    write_record(PINS, record(PINS) | {name: digest})


def consent_text(card: ModelCard) -> str:
    """Return in plain words what a user of the model agrees to."""
    return LICENCES.get(card.licence, f"These weights are under the licence {card.licence}.")


def consents() -> dict[str, str]:
    """Return the licences agreed to, and when; none where the record cannot be read, so that one is asked again."""
    try:
        return record(CONSENT)
    except InputError as error:
        _warn_of_consents(error.message)
        return {}


@cache
def _warn_of_consents(reason: str) -> None:
    """Say it once, however many models ask."""
    logger.warning("%s. It counts as no consent; the next one is recorded anew.", reason)


def has_consent(card: ModelCard) -> bool:
    """Say whether the model may be used: its licence asks for nothing, or was agreed to."""
    return not card.noncommercial or card.licence in consents()


def give_consent(card: ModelCard) -> None:
    """Record that the user agreed to the model's licence, once for all models under it."""
    if not has_consent(card):
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_record(CONSENT, consents() | {card.licence: now})


def require_consent(card: ModelCard) -> None:
    """Raise ``consent_needed``, with the licence in plain words, where nobody agreed to it yet."""
    if not has_consent(card):
        raise InputError(
            f"{card.name} needs your consent before its first use. {consent_text(card)}",
            hint="If you agree, give --accept-licence to `changen2 models download` or `import`, once.",
            code="consent_needed",
        )


def record(name: str) -> dict[str, str]:
    """Read one of the folder's small records; empty where there is none."""
    try:
        content = json.loads((models_folder() / name).read_text(encoding="utf8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(
            f"{models_folder() / name} cannot be read: {error}",
            hint="Mend or remove it; pins are then taken anew.",
            code="unreadable",
        ) from error
    return content if isinstance(content, dict) else {}


def write_record(name: str, content: Mapping[str, object]) -> None:
    """Write one of the folder's small records, whole or not at all."""
    path = models_folder() / name
    part = path.with_name(f".{name}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=2), encoding="utf8")
        part.replace(path)
    except OSError as error:
        raise writing_failed(path.parent, error) from error
    finally:
        part.unlink(missing_ok=True)


def sha256(path: Path, on_bytes: OnBytes = lambda done, total: None) -> str:
    """Return a file's SHA-256, read in chunks."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            on_bytes(done, total)
    return digest.hexdigest()
