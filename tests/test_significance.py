"""Intervals, paired tests and sample sizes against closed forms and known examples."""

import math

import numpy as np
import pytest
from scipy import stats

from emolib import significance


def test_the_corrected_interval_is_nadeau_and_bengios():
    """Their variance (1/n + n2/n1)·s², n−1 degrees of freedom; nothing shared: Student's."""
    values = [81.0, 79.5, 84.0, 80.0, 78.0]
    mean, s2 = 80.5, (0.25 + 1 + 12.25 + 0.25 + 6.25) / 4
    half = 2.7764451 * math.sqrt((1 / 5 + 1 / 4) * s2)
    assert significance.interval(values, 1 / 4) == pytest.approx((mean - half, mean + half))
    plain = stats.ttest_1samp(values, 0).confidence_interval()
    assert significance.interval(values, 0) == pytest.approx((plain.low, plain.high))
    assert all(map(math.isnan, significance.interval([80.0], 1 / 4)))


def test_the_corrected_t_test_divides_students_t():
    differences = [1.0, 2.0, 0.5, 3.0, -0.5]
    t = stats.ttest_1samp(differences, 0).statistic * math.sqrt((1 / 5) / (1 / 5 + 1 / 4))
    expected = 2 * (1 - stats.t.cdf(t, 4))
    assert significance.t_test(differences, 1 / 4) == pytest.approx(expected)
    assert significance.t_test([0.0, 0.0], 1 / 4) == 1 and significance.t_test([2, 2], 1 / 4) == 0
    assert math.isnan(significance.t_test([2.0], 1 / 4))


def test_the_corrected_t_test_keeps_its_level_where_the_plain_one_does_not():
    """Two classifiers of equal merit, five folds: the plain paired t-test on values that share
    noise finds a difference far too often."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2000, 1)) * 0.5  # what all folds have in common: rho = 1/5
    draws = shared + rng.normal(size=(2000, 5))
    plain = np.mean([significance.t_test(d, 0) < 0.05 for d in draws])
    corrected = np.mean([significance.t_test(d, 1 / 4) < 0.05 for d in draws])
    assert plain > 0.09 and corrected < 0.06


def test_mcnemars_exact_p_is_a_sign_test_on_the_pictures_that_differ():
    right = [True] * 50 + [True] * 10 + [False] * 2 + [False] * 8
    other = [True] * 50 + [False] * 10 + [True] * 2 + [False] * 8
    expected = 2 * sum(math.comb(12, k) for k in range(3)) / 2**12
    assert significance.mcnemar_test(right, other) == pytest.approx(expected)
    assert significance.mcnemar_test(right, right) == 1


def test_holms_correction_is_the_textbooks_and_leaves_gaps_alone():
    found = significance.holm([0.01, 0.04, math.nan, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, math.nan, 0.06, 0.02])
    assert np.isnan(significance.holm([math.nan])).all()


def test_the_runs_needed_have_the_power_asked_for_and_one_less_has_not():
    differences, ratio = [3.0, 2.0, 5.0, 4.0, 1.0, 3.0], 0.05

    def power(k):
        s, mean = np.std(differences, ddof=1), np.mean(differences)
        shift = mean / (s * math.sqrt(1 / k + ratio))
        edge = stats.t.ppf(0.975, k - 1)
        return stats.nct.sf(edge, k - 1, shift) + stats.nct.cdf(-edge, k - 1, shift)

    k = significance.runs_needed(differences, ratio)
    assert power(k) >= 0.8 > power(k - 1)
    assert significance.runs_needed([1.0, -1.0, 0.5, -0.4], 1 / 4) == math.inf
    assert significance.runs_needed([0.0, 0.0], 1 / 4) == math.inf


def test_the_smallest_difference_is_cohens_arcsine_formula():
    """n = 2·((z₀.₉₇₅ + z₀.₈)/h)² pictures a system; for 1,269 at 84.66% almost 4 points."""
    found = significance.smallest_difference(84.66, 1269)
    h = 2 * math.asin(math.sqrt((84.66 + found) / 100)) - 2 * math.asin(math.sqrt(0.8466))
    assert 2 * ((1.959964 + 0.841621) / h) ** 2 == pytest.approx(1269, rel=1e-4)
    assert 3.7 < found < 3.9
    assert math.isnan(significance.smallest_difference(99.9, 20))
