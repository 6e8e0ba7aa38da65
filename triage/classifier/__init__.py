"""The classifier: load, classify, train, evaluate; the only door to scikit-learn.

Importing this package is cheap. scikit-learn (3 CPU seconds, 140 MB) is imported when a model is loaded or trained.
"""

from triage.classifier.card import Card, describe
from triage.classifier.corpus import check_corpus, corpus_folder, read_corpus
from triage.classifier.evaluate import evaluate
from triage.classifier.model import Classifier, checked_card, model_folder
from triage.classifier.reasons import Labelled
from triage.classifier.train import train

__all__ = [
    "Card",
    "Classifier",
    "Labelled",
    "check_corpus",
    "checked_card",
    "corpus_folder",
    "describe",
    "evaluate",
    "model_folder",
    "read_corpus",
    "train",
]
