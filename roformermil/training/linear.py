"""The fitting of `mean-linear`: logistic regression of the mean of a slide's normalized features.

An epoch is a strength of the regularization, from strong to weak. The one that is best on the validation slides is kept.
"""

import time
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from roformermil.bags.prefetch import prefetch_batches
from roformermil.training.fold_model import FoldModel, TrainingJob, validation_metrics

# scikit-learn's C, the inverse of the strength. Of equally good ones the first is kept, the strongest
INVERSE_STRENGTHS = np.logspace(-6, 3, 10)
MAX_STEPS = 1000


class LinearFit(FoldModel):
    """A `mean-linear` model: its classifier is fitted by scikit-learn, to the optimum, once per strength."""

    def __init__(self, job: TrainingJob):
        super().__init__(job)
        self.means = {part: self._mean_features(part) for part in ("train", "validation")}

    @property
    def epochs(self) -> int:
        return len(INVERSE_STRENGTHS)

    @property
    def has_converged(self) -> bool:
        return False

    def describe(self) -> str:
        return f"logistic regression of mean features with {self.epochs} strengths of regularization"

    def epoch(self, number: int) -> None:
        """Fit with one strength; add a row to the history."""
        start, inverse = time.perf_counter(), float(INVERSE_STRENGTHS[number])
        labels = self._labels("train")
        weights = dict(enumerate(self.balance.per_slide.tolist()))
        regression = LogisticRegression(C=inverse, class_weight=weights, max_iter=MAX_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # weak ones of separable slides have no optimum
            regression.fit(self.means["train"], labels)
        self._set_parameters(regression)
        metrics = validation_metrics(*self._evaluate_means("validation"))
        self.keep_if_best(number, metrics)
        row: dict[str, Any] = {"epoch": number, "train_loss": self._evaluate_means("train")[0]}
        row |= {f"validation_{name}": value for name, value in metrics.items()}
        self.history.append(row | {"C": inverse, "seconds": round(time.perf_counter() - start, 3)})

    def _labels(self, part: str) -> np.ndarray:
        return np.array([self.data.labels[k] for k in self.slides(part)])

    def _mean_features(self, part: str) -> np.ndarray:
        """The mean normalized features of a part's slides, (n, F)."""
        means = []
        for batch in prefetch_batches(self.data, [[k] for k in self.slides(part)], self.job.training.readers):
            mean = batch.features.double().mean(dim=0)
            if scaling := self.model.normalization:
                mean = (mean - scaling.mean.cpu()) * scaling.scale.cpu()
            means.append(mean.numpy())
        return np.stack(means)

    @torch.no_grad()
    def _set_parameters(self, regression: LogisticRegression) -> None:
        """The regression's parameters as those of the head. Of two classes scikit-learn has one row, the logit of the second less
        that of the first: each gets half."""
        rows, biases = regression.coef_, regression.intercept_
        if len(rows) == 1:
            rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
        classifier = self.model.head.classifier
        classifier.weight.copy_(torch.as_tensor(rows))
        classifier.bias.copy_(torch.as_tensor(biases))

    @torch.no_grad()
    def _evaluate_means(self, part: str) -> tuple[float, np.ndarray, np.ndarray]:
        """As `evaluate`, from the mean features."""
        labels, classifier = self._labels(part), self.model.head.classifier
        logits = (
            torch.from_numpy(self.means[part]) @ classifier.weight.T.double().cpu() + classifier.bias.double().cpu()
        )
        losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()
        mean = self.weighted_mean(losses, labels)
        self.check_finite(part, mean)
        return mean, logits.softmax(dim=-1).numpy(), labels
