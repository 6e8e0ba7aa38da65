"""How far confidence and hits lie apart: the expected calibration error, over 15 equal bins of confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

BINS = 15


def calibration_error(confidences: Sequence[float] | np.ndarray[Any, Any], right: Sequence[bool] | np.ndarray[Any, Any]) -> float:
    """The expected calibration error: over equal bins of confidence, how far confidence and hits lie apart, weighted by size."""
    import numpy as np

    number, gap = _placed(confidences, right)
    return float(np.abs(np.bincount(number, gap)).sum() / max(len(gap), 1))


def gaps(confidences: Sequence[float] | np.ndarray[Any, Any], right: Sequence[bool] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each post the distance between confidence and hit, in the column of its bin: resamples of posts are then one product."""
    import numpy as np

    number, gap = _placed(confidences, right)
    found = np.zeros((len(gap), BINS))
    found[np.arange(len(gap)), number] = gap
    return found


def _placed(confidences: Any, right: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The bin of each post, and the distance between its confidence and its hit."""
    import numpy as np

    given = np.asarray(confidences, dtype=float)
    return np.minimum((given * BINS).astype(int), BINS - 1), given - np.asarray(right, dtype=float)
