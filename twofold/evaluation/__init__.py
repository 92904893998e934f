"""Any number of models, judged on the same held-out pairs."""

from twofold.evaluation.predictions import MEAN, Predictor
from twofold.evaluation.recommendations import POPULAR, Recommender
from twofold.evaluation.result import Counts, Evaluation
from twofold.evaluation.run import evaluate

__all__ = ["MEAN", "POPULAR", "Counts", "Evaluation", "Predictor", "Recommender", "evaluate"]
