"""Train the embedded generator: first the autoencoder, then the denoiser on its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from changen2.jobs.learning.telling import outcome, teller
from changen2.jobs.runs.progress import IsCancelled, OnProgress, Reporter
from changen2.training.config import read_config
from changen2.training.export import export_weights
from changen2.training.generator import autoencoder, latents, rsdit
from changen2.training.generator.config import AutoencoderConfig, RSDiTConfig
from changen2.training.generator.crops import draw_crops
from changen2.training.generator.export import export_generator
from changen2.training.generator.run import keep_autoencoder
from changen2.training.run import CHECKPOINT


def train_autoencoder(
    config: str | Path,
    *,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Train the autoencoder and write its averaged weights.

    Args:
        config: a YAML file, see :class:`changen2.training.generator.config.AutoencoderConfig`.
        resume: go on from the checkpoint in the configured folder.
        on_progress: told of the stages ``scenes``, ``crops`` and ``train``.
        is_cancelled: asked there too; a cancelled run leaves a checkpoint to resume from.

    Returns:
        ``weights``, ``log`` and ``checkpoint`` (paths), ``sha256``, ``steps`` and ``losses`` (the last logged).

    Raises:
        InputError: the configuration, its data or the feature network's weights do not serve.
        Cancelled: where the caller asked for it.
    """
    settings = read_config(config, AutoencoderConfig)
    reporter = Reporter(on_progress, is_cancelled)
    draw_crops(settings.crops, reporter.step)
    losses: dict[str, float] = {}
    model = autoencoder.train_autoencoder(settings, resume, teller(reporter, losses))
    weights = settings.out / "weights.safetensors"
    export_weights(model, weights)
    return outcome(settings.out, weights, settings.steps, losses)


def train_rsdit(
    config: str | Path,
    *,
    resume: bool = False,
    on_progress: OnProgress | None = None,
    is_cancelled: IsCancelled | None = None,
) -> dict[str, Any]:
    """Train the denoiser and write the generator's weights, the autoencoder's among them.

    Args:
        config: a YAML file, see :class:`changen2.training.generator.config.RSDiTConfig`.
        resume: go on from the checkpoint in the configured folder.
        on_progress: told of the stages ``scenes``, ``crops``, ``latents`` and ``train``.
        is_cancelled: asked there too; a cancelled run leaves a checkpoint to resume from.

    Returns:
        ``weights``, ``log`` and ``checkpoint`` (paths), ``sha256``, ``steps`` and ``losses`` (the last logged).

    Raises:
        InputError: the configuration, its data or the autoencoder's weights do not serve, or are no longer those that
            the run began with.
        Cancelled: where the caller asked for it.
    """
    settings = read_config(config, RSDiTConfig)
    reporter = Reporter(on_progress, is_cancelled)
    keep_autoencoder(settings.out, settings.autoencoder)
    draw_crops(settings.crops, reporter.step)
    latents.encode_crops(settings.crops.out, settings.autoencoder, reporter.step)
    losses: dict[str, float] = {}
    rsdit.train_rsdit(settings, resume, teller(reporter, losses))
    weights = settings.out / "generator.safetensors"
    export_generator(settings.autoencoder, settings.out / CHECKPOINT, weights)
    return outcome(settings.out, weights, settings.steps, losses)
