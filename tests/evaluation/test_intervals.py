import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from roformermil.evaluation.intervals import corrected_interval

VALUES = np.array([0.7, 0.72, 0.68, 0.75, 0.71])


def test_without_correction_it_is_students_interval():
    expected = ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert corrected_interval(VALUES, 0) == pytest.approx((expected.low, expected.high))


def test_the_correction_widens_by_its_formula():
    low, high = corrected_interval(VALUES, 0)
    wide_low, wide_high = corrected_interval(VALUES, 1 / 9)
    assert (wide_high - wide_low) / (high - low) == pytest.approx(math.sqrt((1 / 5 + 1 / 9) / (1 / 5)))


def test_edges():
    assert corrected_interval(np.array([1.0, 0.9, 1.0]), 0.1)[1] == 1.0
    for nothing_known in ([0.5, np.nan], [1.0, 1.0, 1.0]):
        assert all(map(math.isnan, corrected_interval(np.array(nothing_known), 0.1)))
