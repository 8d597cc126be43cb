"""Which models there are: their cards, their weights, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from changen2.errors import InputError
from changen2.models import store
from changen2.models.autoencoder_kl import AutoencoderKL
from changen2.models.card import ModelCard
from changen2.models.generator_published import PublishedGenerator
from changen2.models.published import AUTOENCODER, load_published
from changen2.models.rsdit import RSDiT

if TYPE_CHECKING:
    from changen2.models.changestar_tiny import ChangeStarTiny
    from changen2.models.generator_tiny import TinyGenerator

EMBEDDED = Path(__file__).parent.parent / "weights"


def cards() -> dict[tuple[str, str], ModelCard]:
    """Return the cards of all models that are here, by task and name.

    ``tiny`` detects, and another ``tiny`` synthesizes.
    """
    found: dict[tuple[str, str], ModelCard] = {}
    for path in sorted(EMBEDDED.glob("*.json")):
        card = ModelCard.model_validate_json(path.read_text(encoding="utf8"))
        found[card.task, card.name] = card
    return found | {(card.task, card.name): card for card in store.installed_cards()}


def card_of(name: str, task: str = "detect") -> ModelCard:
    """Return the card of a model that is here.

    Raises:
        InputError: ``unknown_model``, ``not_installed`` or ``training_start``.
    """
    known = {card_name: card for (card_task, card_name), card in cards().items() if card_task == task}
    if name not in known and name in store.CATALOGUE and store.CATALOGUE[name].card.task == task:
        raise store.not_installed(name)
    if name not in known:
        raise InputError(
            f"There is no model {name!r} to {task} with; known: {', '.join(known) or 'none'}.",
            hint="Run `changen2 models list` to see what is installed.",
            code="unknown_model",
        )
    if known[name].training_start:
        raise InputError(
            f"{name} is a starting point for training; it does not {task}.",
            hint="Train it on labelled pairs first, or choose another model.",
            code="training_start",
        )
    return known[name]


def weights_path(card: ModelCard) -> Path:
    """Return where a model's weights lie."""
    return (EMBEDDED if card.embedded else store.models_folder()) / (card.weights or f"{card.name}.safetensors")


def load_model(card: ModelCard) -> nn.Module:
    """Build a model and load its weights (float32, eval mode, on the CPU) after checking their digest.

    Raises:
        InputError: ``missing_file``, ``tampered`` or ``consent_needed``.
    """
    store.require_consent(card)
    state = _checked_state(card)
    if card.architecture not in _architectures():
        return _with_autoencoder(load_published(card.architecture, state))
    model = _architectures()[card.architecture]()
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def load_generator(card: ModelCard) -> TinyGenerator | PublishedGenerator:
    """The same of a model that synthesizes."""
    return load_model(card)  # type: ignore[return-value]


def embedded_detector() -> ChangeStarTiny:
    """The embedded detector ``tiny``, loaded."""
    return load_model(card_of("tiny"))  # type: ignore[return-value]


def check_weights(card: ModelCard, digest: Callable[[Path], str]) -> Path:
    """Return where a model's weights lie, after comparing their digest with the card's.

    Args:
        card: of the model.
        digest: gives a file's SHA-256.

    Raises:
        InputError: ``missing_file`` or ``tampered``.
    """
    path = weights_path(card)
    if not path.exists():
        raise InputError(
            f"The weights of {card.name} are not installed: there is no {path.name}.",
            hint=_how_to_mend(card),
            code="missing_file",
        )
    found = digest(path)
    if found != card.sha256:
        raise InputError(
            f"The weights {path.name} are not the ones the card names: SHA-256 {found[:12]}…, expected "
            f"{card.sha256[:12]}….",
            hint=f"The file is damaged or was exchanged. {_how_to_mend(card)}",
            code="tampered",
        )
    return path


def _how_to_mend(card: ModelCard) -> str:
    """What to do about weights that are not as they were."""
    if card.embedded:
        return "Install the backend again; the embedded weights come with it."
    if card.name in store.CATALOGUE:
        return f"Install {card.name} again."
    return "Bring the file back from a copy, or train the model again."


def _checked_state(card: ModelCard) -> dict[str, Tensor]:
    """Read a model's weights, and those of the encoder that it shares, after checking the digests of both."""
    state = load_file(check_weights(card, _sha256))
    if card.encoder_of:
        shared = _checked_state(card_of(card.encoder_of))
        state = {name: value for name, value in shared.items() if name.startswith("encoder.")} | state
    return state


def _with_autoencoder(model: nn.Module) -> nn.Module:
    """Complete a published RS-DiT to a generator; other models are complete."""
    if not isinstance(model, RSDiT):
        return model
    card = store.installed_card(AUTOENCODER)
    if card is None:
        raise store.not_installed(AUTOENCODER)
    autoencoder = load_model(card)
    if not isinstance(autoencoder, AutoencoderKL):
        raise TypeError(f"{AUTOENCODER} loaded as {type(autoencoder).__name__}")
    return PublishedGenerator(autoencoder, model)


def _architectures() -> dict[str, Callable[[], nn.Module]]:
    from changen2.models.changestar_anything import ChangeStarAnything
    from changen2.models.changestar_landcover import ChangeStarLandCover
    from changen2.models.changestar_tiny import ChangeStarTiny
    from changen2.models.generator_tiny import TinyGenerator

    networks = {
        "changestar-tiny": ChangeStarTiny,
        "changestar-tiny-landcover": ChangeStarLandCover,
        "changestar-tiny-anything": ChangeStarAnything,
    }
    detectors = {
        name if encoder == "lite0" else f"{name}-{encoder}": partial(network, encoder)
        for name, network in networks.items()
        for encoder in ("lite0", "lite1", "lite2")
    }
    return {**detectors, "generator-tiny": TinyGenerator}


@lru_cache(maxsize=16)
def _sha256_of(path: Path, size: int, modified: float) -> str:
    return store.sha256(path)


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(path, stat.st_size, stat.st_mtime)


def torch_version() -> str:
    """Return the version of torch in use."""
    return str(torch.__version__)
