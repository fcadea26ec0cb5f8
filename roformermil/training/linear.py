"""The fitting of `mean-linear` and `covariates`: the task's linear model, such as logistic regression, of the mean of a slide's
normalized features, or of its covariates. An epoch is a strength of the regularization, from strong to weak. The one that is
best on the validation slides is kept.

A model with covariates beside its tiles begins with the regression of its covariates.
"""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roformermil.bags.prefetch import prefetch_batches
from roformermil.tasks.base import Parameters
from roformermil.training.fold_model import FoldModel, TrainingJob

# scikit-learn's C, the inverse of the strength. Of equally good ones the first is kept, the strongest
INVERSE_STRENGTHS = np.logspace(-6, 3, 10)


class LinearFit(FoldModel):
    """A `mean-linear` or `covariates` model: its last layer is fitted to the optimum, once per strength."""

    def __init__(self, job: TrainingJob):
        super().__init__(job)
        self.inputs = {part: self._inputs(part) for part in ("train", "validation")}

    @property
    def epochs(self) -> int:
        return len(INVERSE_STRENGTHS)

    @property
    def has_converged(self) -> bool:
        return False

    def describe(self) -> str:
        inputs = "mean features" if self.job.model.uses_features else f"{len(self.coding.entries)} values of covariates"
        return f"linear model of {inputs} with {self.epochs} strengths of regularization"

    def epoch(self, number: int) -> None:
        """Fit with one strength; add a row to the history."""
        start, inverse = time.perf_counter(), float(INVERSE_STRENGTHS[number])
        weights = self.balance.per_slide if self.balance else None
        fitted = self.task.fit_linear(self.inputs["train"], self._targets("train"), inverse, weights)
        self._set_parameters(*fitted)
        metrics = self.validation_metrics(*self._evaluate_inputs("validation"))
        self.keep_if_best(number, metrics)
        row: dict[str, Any] = {"epoch": number, "train_loss": self._evaluate_inputs("train")[0]}
        row |= {f"validation_{name}": value for name, value in metrics.items()}
        self.history.append(row | {"C": inverse, "seconds": round(time.perf_counter() - start, 3)})

    def _targets(self, part: str) -> np.ndarray:
        return self.data.targets[self.slides(part)]

    def _inputs(self, part: str) -> np.ndarray:
        """What the regression is of: the mean normalized features (n, F) of a part's slides, or their covariates (n, k)."""
        if not self.job.model.uses_features:
            assert self.data.covariates is not None
            return self.data.covariates[self.slides(part)].double().numpy()
        means = []
        for batch in prefetch_batches(self.data, [[k] for k in self.slides(part)], self.job.training.readers):
            mean = batch.features.double().mean(dim=0)
            if scaling := self.model.normalization:
                mean = (mean - scaling.mean.cpu()) * scaling.scale.cpu()
            means.append(mean.numpy())
        return np.stack(means)

    @torch.no_grad()
    def _set_parameters(self, weights: np.ndarray, biases: np.ndarray) -> None:
        of_inputs, constant = self._parameters()
        of_inputs.copy_(torch.as_tensor(weights))
        constant.copy_(torch.as_tensor(biases))

    def _parameters(self) -> tuple[Tensor, Tensor]:
        """The weights (M, F) or (M, k) and biases (M,) of the linear model."""
        if self.model.fusion is not None:
            return self.model.fusion, self.model.head.bias
        return self.model.head.classifier.weight, self.model.head.classifier.bias

    @torch.no_grad()
    def _evaluate_inputs(self, part: str) -> tuple[float, np.ndarray, np.ndarray]:
        """As `evaluate`, from the inputs of the linear model."""
        targets, (weight, bias) = self._targets(part), self._parameters()
        logits = torch.from_numpy(self.inputs[part]) @ weight.T.double().cpu() + bias.double().cpu()
        losses = self.task.loss(logits, torch.from_numpy(targets)).numpy()
        mean = self.weighted_mean(losses, targets)
        self.check_finite(part, mean)
        return mean, self.task.activation(logits).numpy(), targets


def regress_covariates(fit: FoldModel) -> Parameters:
    """Weights (M, k) and biases (M,) of the regression of a fold's covariates alone, its strength chosen by the loss of the
    validation slides, as by default for `covariates`."""
    assert fit.data.covariates is not None
    inputs, targets = fit.data.covariates.double().numpy(), fit.data.targets
    trained, validated = fit.slides("train"), fit.slides("validation")
    weights = fit.balance.per_slide if fit.balance else None

    def loss(fitted: Parameters) -> float:
        logits = torch.from_numpy(inputs[validated] @ fitted[0].T + fitted[1])
        losses = fit.task.loss(logits, torch.from_numpy(targets[validated]))
        return fit.weighted_mean(losses.numpy(), targets[validated])

    strengths = map(float, INVERSE_STRENGTHS)
    return min((fit.task.fit_linear(inputs[trained], targets[trained], one, weights) for one in strengths), key=loss)
