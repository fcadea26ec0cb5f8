"""What models' probabilities are worth as decisions: operating points, predictive values, net benefit, abstention, temperature."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from roformermil.config.decisions import Decisions
from roformermil.evaluation.abstention import abstention_table
from roformermil.evaluation.net_benefit import decision_curves
from roformermil.evaluation.operating_points import COLUMNS as POINT_COLUMNS
from roformermil.evaluation.operating_points import calls, ensemble_points, operating_points
from roformermil.evaluation.predictions import KEYS, OutOfFold, of_ensembles
from roformermil.evaluation.probability_scores import score_table
from roformermil.evaluation.proportions import Bounds, predictive_value, proportion
from roformermil.evaluation.temperature import fit_temperatures, scaled_models
from roformermil.tasks.class_metrics import counted_classes

TITLES = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
AT_PREVALENCE = "_at_prevalence"  # after `ppv` and `npv`: at the prevalence that the settings give
COLUMNS = [*KEYS, "class", "operating_point", "metric", "prevalence", "value", "ci_low", "ci_high", "slides", "folds"]
Row = tuple[str, float, float, Bounds]  # metric, prevalence, value, interval


class Decided(NamedTuple):
    """Models ready to decide: their test slides' probabilities, at their temperature where the settings say so; those of their
    validation slides; and the operating points that were chosen on these."""

    models: list[OutOfFold]
    validation: list[OutOfFold]
    points: pd.DataFrame

    @property
    def validation_of_models(self) -> list[OutOfFold]:
        """The predictions of validation slides by what decides: a training, or for an external data set all members of the ensemble
        as one fold, since the ensemble has predicted no validation slides."""
        return [own.as_one_fold() if own.trained_on else own for own in self.validation]


def decision_tables(
    members: list[OutOfFold], validation: list[OutOfFold], trained: list[OutOfFold], settings: Decisions
) -> dict[str, pd.DataFrame]:
    """The tables by name.

    members, validation, trained: predictions of test, validation and training slides by each fold's model, as of `join_folds`.
    Tables have no rows for models that predict no class.
    """
    members, validation, trained = ([one for one in models if one.classes] for models in (members, validation, trained))
    decided = prepare_decisions(members, validation, settings)
    temperatures = [fit_temperatures(own) for own in validation]
    models, scaled = of_ensembles(members), of_ensembles(scaled_models(members, validation))
    return {
        "operating_points": decided.points,
        "decisions": decision_table(decided.models, decided.points, settings),
        "decision_curves": decision_curves(decided.models),
        "abstention": abstention_table(decided.models, decided.validation_of_models, decided.points),
        "probabilities": score_table(models, scaled, trained, temperatures),
    }


def prepare_decisions(members: list[OutOfFold], validation: list[OutOfFold], settings: Decisions) -> Decided:
    """Temperatures and operating points of models, from predictions of their validation slides alone. An external data set's
    slides are decided as a package decides: by the ensemble's probability, at the median of its members' operating points."""
    temperatures = [fit_temperatures(own) if settings.temperature else {} for own in validation]
    if settings.temperature:
        members, validation = scaled_models(members, validation), scaled_models(validation, validation)
    points = [operating_points(*pair, settings) for pair in zip(validation, temperatures, strict=True)]
    points = [
        ensemble_points(own, table) if own.trained_on else table for own, table in zip(validation, points, strict=True)
    ]
    chosen = pd.concat(points, ignore_index=True) if points else pd.DataFrame(columns=POINT_COLUMNS)
    return Decided(of_ensembles(members), validation, chosen)


def decision_table(models: list[OutOfFold], points: pd.DataFrame, settings: Decisions) -> pd.DataFrame:
    """What each model's operating points reach on test slides, of each class against the rest, with 95% intervals by patient:
    COLUMNS.

    PPV and NPV are those of the slides, and again at the prevalence that the settings give. Each slide counts once: as the
    mean over the trainings that test it. slides: of the class; folds: that have an operating point.
    """
    rows = []
    for model in models:
        for c in counted_classes(model.predictions):
            name, called = model.classes[c], calls(model, points, c)
            labels, patients, means = model.mean_by_slide(called)
            folds = len(np.unique(model.folds[np.isfinite(called)]))
            for metric, prevalence, value, bounds in decision_rows(
                labels == c, means, patients, settings.prevalence.get(name)
            ):
                counts = int((labels == c).sum()), folds
                rows.append((*model.key, name, settings.rule, metric, prevalence, value, *bounds, *counts))
    return pd.DataFrame(rows, columns=COLUMNS)


def decision_rows(
    truth: np.ndarray, called: np.ndarray, patients: np.ndarray, prevalence: float | None = None
) -> Iterator[Row]:
    """Sensitivity and specificity of s slides, PPV and NPV as they are and at a prevalence.

    truth: (s,) bool; called: (s,) from 0 to 1, the share of trainings that call a slide positive; patients: (s,).
    """
    own, other = float(truth.mean()) if len(truth) else np.nan, 1 - called
    ones = np.ones_like(called)
    sensitivity = proportion(called[truth], ones[truth], patients[truth])
    specificity = proportion(other[~truth], ones[~truth], patients[~truth])
    yield "sensitivity", own, sensitivity.value, sensitivity.interval
    yield "specificity", own, specificity.value, specificity.interval
    for metric, hits, total in (("ppv", called * truth, called), ("npv", other * ~truth, other)):
        value = proportion(hits, total, patients)
        yield metric, own, value.value, value.interval
    if prevalence is not None:
        at_prevalence = predictive_value(sensitivity, specificity.complement, prevalence)
        yield f"ppv{AT_PREVALENCE}", prevalence, *at_prevalence
        at_prevalence = predictive_value(specificity, sensitivity.complement, 1 - prevalence)
        yield f"npv{AT_PREVALENCE}", prevalence, *at_prevalence
