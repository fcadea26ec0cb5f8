"""How unlike the training slides others look: on made features with and without a shift."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.decomposition import PCA

from roformermil.errors import ModelError
from roformermil.evaluation.shift import FEWEST, UNLIKE, describe_shift, fit_reference, read_reference, write_reference

WIDTH = 64


@pytest.fixture(scope="module")
def draw():
    """Mean features of slides of one source: a few directions vary most, as in those of an encoder. draw(n, seed, shift)."""
    mixing = np.random.default_rng(9).normal(size=(20, WIDTH)) * np.geomspace(3, 0.1, 20)[:, None]

    def make(count, seed, shift=0.0):
        rng = np.random.default_rng(seed)
        direction = np.random.default_rng(10).normal(size=WIDTH)
        noise = 0.2 * rng.normal(size=(count, WIDTH))
        return 5 + rng.normal(size=(count, 20)) @ mixing + noise + shift * direction

    return make


def describe(farther, compared_with=40):
    return describe_shift(farther, own_patients(farther), compared_with)


def own_patients(vectors):
    return [f"p{k}" for k in range(len(vectors))]


def test_the_distance_is_mahalanobis_under_scikit_learns_probabilistic_pca(draw):
    vectors, others = draw(40, 1), draw(5, 2)
    pca = PCA(8, svd_solver="full").fit(vectors)
    expected = [mahalanobis(one, pca.mean_, pca.get_precision()) for one in others]
    assert fit_reference(vectors, own_patients(vectors)).distance(others) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "shift"), [(30, 6.0), (100, 2.0)])  # about 1.1 and 0.4 standard deviations
def test_slides_of_the_same_source_are_rarely_called_unlike_and_shifted_ones_mostly(draw, count, shift):
    same, shifted = [], []
    for seed in range(6):
        reference = fit_reference(training := draw(count, seed), own_patients(training))
        same.append(reference.compare(draw(50, 100 + seed))[1] <= UNLIKE)
        shifted.append(reference.compare(draw(50, 200 + seed, shift=shift))[1] <= UNLIKE)
    assert np.mean(same) < 0.09 and np.mean(shifted) > 0.9


def test_a_patients_slides_are_left_out_together(draw):
    """Slides that are nearly the same would otherwise look familiar, and every other slide unlike them."""
    vectors = np.repeat(draw(20, 3), 3, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(60, WIDTH))
    patients = [f"p{k // 3}" for k in range(60)]
    together, apart = fit_reference(vectors, patients), fit_reference(vectors, own_patients(vectors))
    assert len(together.distances) == 20 and np.median(together.distances) > 1.5 * np.median(apart.distances)


def test_a_reference_is_kept_in_a_file_and_fits_features_of_its_width_only(draw, tmp_path):
    vectors = draw(30, 4)
    write_reference(tmp_path / "r.safetensors", reference := fit_reference(vectors, own_patients(vectors)))
    read = read_reference(tmp_path / "r.safetensors")
    assert read.compare(vectors)[1] == pytest.approx(reference.compare(vectors)[1])
    with pytest.raises(ModelError, match="3 values per tile, the training slides have 64"):
        read.compare(vectors[:, :3])
    (tmp_path / "r.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="not a reference of training slides"):
        read_reference(tmp_path / "r.safetensors")


def test_words_say_whether_slides_look_like_the_training_slides(draw):
    few = fit_reference(draw(FEWEST - 1, 5), own_patients(range(FEWEST - 1)))
    assert not len(few.distances)
    assert "cannot be told" in describe(np.full(4, np.nan))
    assert describe(np.array([0.01] * 9 + [0.5])).startswith("these slides look unlike the training slides: 9 of 10")
    assert describe(np.array([0.01] * 6 + [0.5] * 12)).startswith("some of these slides look unlike")
    assert describe(np.array([0.01] + [0.5] * 15)).startswith("these slides look like the training slides: 1 of 16")
    same = ["p"] * 10  # ten slides of one patient are one observation
    assert describe_shift(np.full(10, 0.01), same, 40).startswith("these slides look like")


@pytest.mark.parametrize(("training", "new", "per_patient"), [(19, 100, 1), (60, 200, 1), (120, 100, 4)])
def test_slides_of_the_same_source_are_called_unlike_in_one_of_a_hundred_draws(draw, training, new, per_patient):
    """With a binomial test, one in ten to one in four would be: all new slides are compared with the same few."""
    alarms = []
    for seed in range(60):
        vectors, others = (
            np.repeat(draw(count // per_patient, seed + start), per_patient, axis=0)
            for count, start in ((training, 0), (new, 1000))
        )
        rng = np.random.default_rng(seed)
        vectors, others = (x + 0.3 * rng.normal(size=x.shape) * (per_patient > 1) for x in (vectors, others))
        patients = [f"p{k // per_patient}" for k in range(max(training, new))]
        reference = fit_reference(vectors, patients[:training])
        farther = reference.compare(others)[1]
        words = describe_shift(farther, patients[:new], len(reference.distances))
        alarms.append(not words.startswith("these slides look like"))
    assert np.mean(alarms) <= 0.05
