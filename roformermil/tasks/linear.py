"""Linear models of n bags' mean features, one optimum per strength of regularization: `mean-linear` of each task.

All minimise C times the sum of the bags' losses plus half the squared norm of the weights; biases are not penalised.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from roformermil.tasks.base import Parameters

if TYPE_CHECKING:
    from torch import Tensor

MAX_STEPS = 1000


def fit_logistic(features: np.ndarray, labels: np.ndarray, inverse: float, class_weights: np.ndarray) -> Parameters:
    """Logistic regression, by scikit-learn. features: (n, F); labels: (n,) class indices; inverse: C; class_weights: (C,).

    Of two classes scikit-learn has one row, the logit of the second less that of the first: each gets half.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=inverse, class_weight=dict(enumerate(class_weights.tolist())), max_iter=MAX_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak ones of separable slides have no optimum
        regression.fit(features, labels)
    rows, biases = regression.coef_, regression.intercept_
    if len(rows) == 1:
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    return rows, biases


def fit_ridge(features: np.ndarray, values: np.ndarray, inverse: float) -> Parameters:
    """Ridge regression, by scikit-learn. features: (n, F); values: (n,); inverse: C, scikit-learn's alpha is 1 / 2C."""
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=1 / (2 * inverse)).fit(features, values)
    return ridge.coef_[None], np.atleast_1d(ridge.intercept_)


def fit_shared_weights(
    features: np.ndarray, loss: Callable[["Tensor"], "Tensor"], outputs: int, inverse: float
) -> Parameters:
    """A model with the same weights for all outputs and a bias for each, by scipy's L-BFGS-B. features: (n, F); loss: of each bag
    (n,), given outputs (n, M); inverse: C."""
    import torch
    from scipy.optimize import minimize

    x = torch.from_numpy(np.asarray(features, np.float64))

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        given = torch.from_numpy(parameters).requires_grad_()
        weights, biases = given[:-outputs], given[-outputs:]
        value = loss((x @ weights)[:, None] + biases).mean() + weights.square().sum() / (2 * inverse * len(x))
        value.backward()
        assert given.grad is not None
        return value.item(), given.grad.numpy()

    start = np.zeros(features.shape[1] + outputs)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS}).x
    return np.tile(found[:-outputs], (outputs, 1)), found[-outputs:]
