"""The probability of change that a detection writes: the model's own, scaled as the model's card says.

``changen2 evaluate --store`` and a fine-tuning leave Platt's scaling in a card (``calibration.platt``): the logit z of
the model's probability becomes a · z + b. It is applied once, to the blended probability before it is stored, for
every detector whose card has one. What counts as change by default does not depend on it: a card's ``threshold`` is
of the model's own probability and is scaled alike. A threshold that a user gives is of the probability as written, so
0.5 means as likely as not. The embedded detector's 0.5 was made the right threshold in its weights; where its card
scales, b is 0, which leaves 0.5 where it is.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from changen2.models.registry import ModelCard
from changen2.raster.calibration import Platt

logger = logging.getLogger(__name__)


def scaling_of(card: ModelCard) -> Platt | None:
    """The scaling in a model's card; None where there is none, or one that would turn the order of pixels around."""
    found = ((card.model_extra or {}).get("calibration") or {}).get("platt")
    if not found:
        return None
    scaling = Platt(float(found["a"]), float(found["b"]))
    if not (math.isfinite(scaling.b) and 0 < scaling.a < math.inf):
        logger.warning("%s is not scaled: a must be above 0, and its card says %r.", card.name, found)
        return None
    return scaling


def written_threshold(card: ModelCard) -> float:
    """The card's recommended threshold, as a probability in the written map, 0..1."""
    scaling = scaling_of(card)
    return float(scaling(np.array(card.threshold))) if scaling else card.threshold
