"""Logistic regression that believes itself less, the longer the text.

Most words of a long text point one way, each a little, and their sum looks like certainty. Yet what people write at length is harder to
judge than a sentence, not easier. So the sum is divided by a power of the length, which changes no label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from triage.classifier.form import NAMES

LENGTH = NAMES.index("length")
"""The feature of form that heat comes from: the logarithm of the number of characters, by 8, up to 2,980 characters."""


class Judge(LogisticRegression):  # type: ignore[misc]
    """scikit-learn's, for rows that end in the features of form, unweighted. Until `temper` is called it is scikit-learn's alone."""

    short_: float = 1.0
    power_: float = 0.0

    def temper(self, short: float, power: float) -> None:
        """From now on divide by the length in `short` characters to `power`, where a text is longer than that."""
        self.short_ = short
        self.power_ = power

    def heat(self, form: np.ndarray) -> np.ndarray:
        """What to divide by, 1 at least, for each row of features of form."""
        found: np.ndarray = np.exp(self.power_ * np.maximum(0.0, 8 * form[:, LENGTH] - np.log(self.short_)))
        return found

    def decision_function(self, X: Any) -> np.ndarray:
        """What each label is worth to each row."""
        worth: np.ndarray = (super().decision_function(X).T / self.heat(form_of(X))).T  # of two labels there is one column
        return worth


def form_of(rows: Any) -> np.ndarray:
    """The features of form of rows, their last columns."""
    form: np.ndarray = rows[:, -len(NAMES) :].toarray()
    return form


def heat(judge: Any, form: np.ndarray) -> np.ndarray:
    """The heat of each row; a model that was made before there was any has 1."""
    return judge.heat(form) if isinstance(judge, Judge) else np.ones(len(form))
