import numpy as np
import pytest

from roformermil.studies.strata import density, split_by_strata


def square(side, step=1):
    return np.stack(np.meshgrid(np.arange(side) * step, np.arange(side) * step), axis=-1).reshape(-1, 2) - 3


def test_density_is_the_fraction_of_neighbours():
    assert density(np.array([[5, -2]])) == density(square(6, step=2)) == 0
    assert density(square(2)) == pytest.approx(3 / 8)  # each of four tiles has three neighbours
    assert density(square(3)) == pytest.approx((8 + 4 * 5 + 4 * 3) / 9 / 8)


def test_strata_are_split_at_the_median():
    grids = {"a": square(3), "b": square(3, step=2), "c": square(9), "d": square(5, step=2)}
    expected = {"sparse": {"b", "d"}, "dense": {"a", "c"}, "small": {"a", "b"}, "large": {"c", "d"}}
    assert split_by_strata({name: [grid] for name, grid in grids.items()}) == expected
