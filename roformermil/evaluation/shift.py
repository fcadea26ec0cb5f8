"""Whether slides look like the training slides: how far their mean features lie from those of training.

A slide is its tiles' mean feature vector. Its distance is Mahalanobis' under probabilistic principal component analysis of the
training slides' vectors (Tipping and Bishop, J. R. Statist. Soc. B 61, 1999): along the leading components in units of their
standard deviation, elsewhere in units of the mean of the others. Training slides, one of each patient, have their own distances from
a fit without the patient (cross-conformal prediction: Vovk, Ann. Math. Artif. Intell. 74, 2015), so that of new slides from
the same source about one in twenty is farther away than 95% of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from roformermil.bags.folds import FoldRow
from roformermil.errors import ModelError
from roformermil.features.store import read_store
from roformermil.runtime.files import atomic_path

COMPONENTS = 10  # at most
SLIDES_PER_COMPONENT = 5  # at least
GROUPS = 10  # of training patients, each left out once
UNLIKE = 0.05  # a slide is called unlike the training slides where at most this share of them is farther away
FEWEST = round(1 / UNLIKE) - 1  # training patients with which a share as small is possible
MORE_THAN_CHANCE = 0.01  # p of the number of slides called unlike
FILE = "reference.safetensors"
TABLE = "shift.csv"


@dataclass(frozen=True)
class Reference:
    """What training slides look like: all that is needed to compare others with them, and no slide's name."""

    mean: np.ndarray  # (F,)
    components: np.ndarray  # (k, F), orthonormal
    variances: np.ndarray  # (k,) along the components
    noise: np.ndarray  # (1,) variance along every other direction
    distances: np.ndarray  # (n,) of a slide of each training patient, from a fit without that patient, ascending

    def distance(self, vectors: np.ndarray) -> np.ndarray:
        """How far mean features (m, F) lie from those of the training slides: (m,)."""
        centred = vectors.astype(np.float64) - self.mean
        along = centred @ self.components.T  # (m, k)
        beside = np.maximum(np.square(centred).sum(axis=1) - np.square(along).sum(axis=1), 0)
        return np.sqrt((np.square(along) / self.variances).sum(axis=1) + beside / self.noise)

    def share_farther(self, distances: np.ndarray) -> np.ndarray:
        """The share of training slides that are at least as far away, (m,): the conformal p value (1 + count) / (1 + n)."""
        count = len(self.distances) - np.searchsorted(self.distances, distances, side="left")
        return (1 + count) / (1 + len(self.distances))

    def compare(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`distance` and `share_farther` of mean features (m, F). Raises ModelError for features of another width."""
        if vectors.shape[1] != len(self.mean):
            raise ModelError(f"{vectors.shape[1]} values per tile, the training slides have {len(self.mean)}")
        return (distances := self.distance(vectors)), self.share_farther(distances)


def mean_features(stores: Sequence[Path]) -> np.ndarray:
    """The mean feature vector of each slide: (n, F). Raises StoreError."""
    return np.stack([mean_vector(read_store(store).features) for store in stores])


def mean_vector(features: np.ndarray) -> np.ndarray:
    """The mean (F,) of a slide's features (n, F)."""
    return features.mean(axis=0, dtype=np.float64)


def fit_reference(vectors: np.ndarray, patients: Sequence[str]) -> Reference:
    """The reference of n training slides. vectors: (n, F), their mean features; patients: (n,) ids.

    Fewer than FEWEST patients have no distances: none of another slide would be unusual.
    """
    whole = _fit(vectors)
    names, firsts, numbers = np.unique(np.asarray(patients), return_index=True, return_inverse=True)
    if len(names) < FEWEST:
        return whole
    groups = np.random.default_rng(0).permutation(len(names)) % GROUPS
    distances = np.empty(len(names))
    for group in np.unique(groups):
        fit = _fit(vectors[groups[numbers] != group])
        distances[groups == group] = fit.distance(vectors[firsts[groups == group]])
    return replace(whole, distances=np.sort(distances))


def _fit(vectors: np.ndarray) -> Reference:
    """Mean, components, variances and noise of n vectors, without distances."""
    from sklearn.decomposition import PCA

    count = max(1, min(COMPONENTS, len(vectors) // SLIDES_PER_COMPONENT, vectors.shape[1] - 1))
    pca = PCA(count, svd_solver="full").fit(vectors)
    smallest = np.finfo(np.float32).tiny  # where slides do not differ at all
    variances, noise = (np.maximum(values, smallest) for values in (pca.explained_variance_, pca.noise_variance_))
    return Reference(pca.mean_, pca.components_, variances, np.array([noise]), np.empty(0))


def write_reference(path: Path, reference: Reference) -> None:
    """Write a file that `read_reference` reads."""
    # safetensors would write the memory of an array that is not contiguous in another order
    arrays = {field.name: np.ascontiguousarray(getattr(reference, field.name)) for field in fields(reference)}
    with atomic_path(path) as scratch:
        scratch.write_bytes(save(arrays))


def read_reference(path: Path) -> Reference:
    """The reference in a file. Raises ModelError."""
    try:
        return Reference(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise ModelError(f"{path.absolute()}: not a reference of training slides ({error})") from error


def reference_of_folds(rows: Sequence[FoldRow], stores: Path) -> Reference:
    """The reference of the slides of a data set that models are trained on. rows: of folds.csv; stores: folder of its features."""
    patients = {row.slide_id: row.patient_id for row in rows}
    return fit_reference(mean_features([stores / f"{name}.zarr" for name in patients]), list(patients.values()))


def shift_table(rows: Sequence[FoldRow], stores: Path, reference: Reference) -> pd.DataFrame:
    """The rows of shift.csv: the distance of each slide from the training slides, and the share of these that is `farther`, NaN
    where they are too few; `compared_with`: of how many training patients."""
    patients = dict(sorted({row.slide_id: row.patient_id for row in rows}.items()))
    distances, farther = reference.compare(mean_features([stores / f"{name}.zarr" for name in patients]))
    count = len(reference.distances)
    ids = {"slide_id": list(patients), "patient_id": list(patients.values())}
    shares = farther if count else np.full(len(patients), np.nan)
    return pd.DataFrame({**ids, "distance": distances, "farther": shares, "compared_with": count})


def looks_unlike(farther: np.ndarray, patients: Sequence[str], compared_with: int) -> bool:
    """Whether more slides are called unlike the training slides than chance explains. All as in `describe_shift`."""
    known = np.isfinite(farther)
    firsts = np.unique(np.asarray(patients)[known], return_index=True)[1]
    unlike = int((farther[known] <= UNLIKE)[firsts].sum())
    return bool(known.any()) and _chance_of(unlike, len(firsts), compared_with) < MORE_THAN_CHANCE


def describe_shift(
    farther: np.ndarray, patients: Sequence[str], compared_with: int, trained: str = "the training slides"
) -> str:
    """Whether slides look like the training slides, in words.

    farther: (m,) for each slide, as of `Reference.share_farther`, NaN where the training slides are too few; patients: (m,) ids;
    compared_with: the number of training patients. One slide in twenty of those like the training slides is called unlike them;
    whether there are more is tested on one slide of each patient.
    """
    known = np.isfinite(farther)
    if not known.any():
        return f"whether these slides look like {trained} cannot be told: that takes {FEWEST} training patients"
    calls = farther[known] <= UNLIKE
    counts = f"{calls.sum()} of {len(calls)} lie farther from them than {1 - UNLIKE:.0%} of them do; by chance about"
    counts += f" {UNLIKE * len(calls):.2g} would"
    if not looks_unlike(farther, patients, compared_with):
        return f"these slides look like {trained}: {counts}"
    if calls.mean() > 0.5:
        return f"these slides look unlike {trained}: {counts}. Do not rely on the model's results in cross-validation"
    return f"some of these slides look unlike {trained}: {counts}"


def describe_shift_table(table: pd.DataFrame, trained: str = "the training slides") -> str:
    """The same of shift.csv."""
    return describe_shift(*_columns(table), trained)


def shift_caution(table: pd.DataFrame, trained: str) -> str:
    """The same where slides look unlike the training slides, else ""."""
    return describe_shift_table(table, trained) if looks_unlike(*_columns(table)) else ""


def _columns(table: pd.DataFrame) -> tuple[np.ndarray, list[str], int]:
    return table.farther.to_numpy(float), table.patient_id.tolist(), int(table.compared_with.iloc[0])


def _chance_of(unlike: int, count: int, compared_with: int) -> float:
    """The probability that so many or more of `count` patients' slides are called unlike, if they are of the same source as those
    of the training patients. All are compared with the same few: the probability of a call is itself only known to follow a
    beta distribution, and their number a beta-binomial one (Vovk, Conditional validity of inductive conformal predictors, PMLR 25, 2012)."""
    from scipy.stats import betabinom

    rank = int(UNLIKE * (compared_with + 1) + 1e-9)
    return float(betabinom.sf(unlike - 1, count, rank, compared_with + 1 - rank))
