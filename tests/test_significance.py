"""Intervals, paired tests and sample sizes against closed forms and known examples."""

import math
from pathlib import Path

import levels
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from emolib.tables import significance

RESULTS = Path(__file__).parents[1] / "results"


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
    assert significance.over_folds(differences, 1 / 4).p == pytest.approx(expected)
    assert significance.over_folds([0.0, 0.0], 1 / 4).p == 1
    assert significance.over_folds([2, 2], 1 / 4).p == 0
    assert math.isnan(significance.over_folds([2.0], 1 / 4).p)


def test_the_corrected_t_test_keeps_its_level_where_the_plain_one_does_not():
    """Two classifiers of equal merit, five folds: the plain paired t-test on values that share
    noise finds a difference far too often."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(2000, 1)) * 0.5  # what all folds have in common: rho = 1/5
    draws = shared + rng.normal(size=(2000, 5))
    plain = np.mean([significance.over_folds(d, 0).p < 0.05 for d in draws])
    corrected = np.mean([significance.over_folds(d, 1 / 4).p < 0.05 for d in draws])
    assert plain > 0.09 and corrected < 0.06


def test_over_pictures_is_the_t_interval_of_the_pictures():
    """One seed, equal weights: the all-pairs variance of Bayle et al. is the pictures' own."""
    each = np.repeat([100.0, 0.0, -100.0], (70, 1130, 65))
    found, known = significance.over_pictures(each), DescrStatsW(each)
    assert found.interval() == pytest.approx(known.tconfint_mean(), rel=1e-9)
    assert found.p == pytest.approx(known.ttest_mean(0)[1])
    half = (found.interval()[1] - found.interval()[0]) / 2  # 1,265 pictures, 10.7% differ
    assert half == pytest.approx(1.8, abs=0.05)


def test_the_margin_is_where_two_one_sided_tests_agree():
    each = np.repeat([100.0, 0.0, -100.0], (60, 1140, 65))
    margin = significance.over_pictures(each).margin
    p, _, _ = DescrStatsW(each).ttost_mean(-margin, margin)
    assert p == pytest.approx(0.05) and margin == pytest.approx(1.85, abs=0.01)


def test_near_twins_count_as_one_picture():
    each = np.repeat([100.0, 0.0], (30, 70))
    twice, names = np.repeat(each, 2), np.repeat(np.arange(100), 2)
    once = significance.over_pictures(each)
    both = significance.over_pictures(twice, clusters=names)
    assert (both.value, both.freedom) == (once.value, once.freedom) == (30, 99)
    assert both.pictures == pytest.approx(once.pictures, rel=0.01)
    assert significance.over_pictures(twice).pictures < 0.75 * once.pictures


def test_weights_give_each_fold_the_same_say():
    each = np.array([100.0] * 3 + [0.0] * 7 + [100.0] * 20)
    weights = np.repeat([1 / 10, 1 / 20], [10, 20])
    assert significance.over_pictures(each, weights).value == pytest.approx((30 + 100) / 2)


def test_seeds_add_their_own_variance():
    """Averaged picture by picture; Welch and Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(1)
    answers = 100.0 * (rng.random((400, 3)) < [0.70, 0.75, 0.80])
    found = significance.over_pictures(answers)
    each, means = answers.mean(1), answers.mean(0)
    a, b = each.var(ddof=1) / 400, means.var(ddof=1) / 3
    assert (found.pictures**2, found.seeds**2) == (pytest.approx(a), pytest.approx(b))
    assert found.freedom == pytest.approx((a + b) ** 2 / (a**2 / 399 + b**2 / 2))
    half = stats.t.ppf(0.975, found.freedom) * math.sqrt(a + b)
    assert found.interval() == pytest.approx((means.mean() - half, means.mean() + half))


def test_where_nothing_varies_the_interval_still_has_a_width():
    found = significance.over_pictures(np.zeros(198))
    assert found.interval()[1] == pytest.approx(stats.t.ppf(0.975, 197) * 100 / 200)
    assert found.p == 1 and math.isnan(significance.over_pictures([100.0]).p)


def test_two_sets_folds_together_are_their_weighted_mean_with_independent_errors():
    one, other = (
        significance.over_folds([2.0, 3, 1, 2, 2], 0),
        significance.over_folds([1, 0, 2], 0),
    )
    found = significance.stratified([one, other], [1200, 1800])
    assert found.value == pytest.approx(0.4 * 2 + 0.6 * 1)
    a, b = (0.4 * one.error) ** 2, (0.6 * other.error) ** 2
    assert found.error**2 == pytest.approx(a + b)
    assert found.freedom == pytest.approx((a + b) ** 2 / (a**2 / 4 + b**2 / 2))


def test_equal_systems_are_told_apart_as_rarely_as_the_table_of_levels_says():
    """Two heads with random features of their own on the same pictures, five folds. With one seed
    the interval over pictures may find too much, with three not (levels.py, at length)."""
    rng = np.random.default_rng(0)
    found = {
        seeds: np.mean(
            [levels.trial(levels.CASES["modules"], 300, seeds, rng)["pictures"] for _ in range(60)]
        )
        for seeds in (1, 3)
    }
    assert found[3] <= 0.07 and found[3] <= found[1] < 0.2


def test_pictures_decide_nowhere_where_the_simulation_found_too_much():
    """results/levels.csv: at most 7% where they do, as for a network's heads from three seeds."""
    table = pd.read_csv(RESULTS / "levels.csv")
    decide = [*map(significance.pictures_decide, table["seeds"], table["discordance"])]
    assert table["pictures"][decide].max() <= 0.07 < table["pictures"].max()
    assert table["both"].max() <= 0.07 and table["trials"].min() >= 500
    trusted = table[decide]
    assert {"modules", "seeds", "networks"} < set(trusted["systems"]) and 3 in set(trusted["seeds"])
    assert not {"trees", "neighbours"} & set(trusted["systems"])


def test_mcnemars_exact_p_is_a_sign_test_on_the_pictures_that_differ():
    right = [True] * 50 + [True] * 10 + [False] * 2 + [False] * 8
    other = [True] * 50 + [False] * 10 + [True] * 2 + [False] * 8
    expected = 2 * sum(math.comb(12, k) for k in range(3)) / 2**12
    assert significance.mcnemar_test(right, other) == pytest.approx(expected)
    assert significance.mcnemar_test(right, right) == 1


def test_holms_correction_is_the_textbooks_and_leaves_gaps_alone():
    found = significance.holm([0.01, 0.04, math.nan, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, math.nan, 0.06, 0.02])
    assert np.isnan(significance.holm([math.nan])).all() and not len(significance.holm([]))
    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(significance.holm(p), multipletests(p, 0.05, "holm")[1])


def test_what_is_needed_has_the_power_asked_for_and_a_little_less_has_not():
    """More pictures shrink the one part of the error, more seeds the other, and make Student's t
    narrower; the power by the noncentral t."""

    def power(value, pictures, n, seeds, s, alpha):
        error = math.hypot(pictures, seeds)
        freedom = error**4 / (pictures**4 / (n - 1) + (seeds**4 / (s - 1) if seeds else 0))
        edge = stats.t.isf(alpha / 2, freedom)
        return stats.nct.sf(edge, freedom, value / error)

    alpha = 0.05 / 3
    found = significance.Mean(1.5, 0.9, 0.0, 1264)
    seeds, count = significance.needed(found, 1, 1265, alpha)
    at = [power(1.5, 0.9 * math.sqrt(1265 / n), n, 0, 1, alpha) for n in (count, 0.95 * count)]
    assert seeds == 1 and at[0] >= 0.799 and at[1] < 0.8
    found = significance.Mean(3.0, 0.5, 1.2, 3)
    seeds, count = significance.needed(found, 3, 1265, alpha)
    at = [power(3.0, 0.5, 1265, 1.2 * math.sqrt(3 / s), s, alpha) for s in (seeds, seeds - 2)]
    assert count == 1265 and seeds > 3 and at[0] >= 0.78 and at[1] < 0.8


def test_what_is_needed_is_never_what_is_there_nor_what_cannot_do_it():
    """Three seeds whose p is .056 by Student's t and would be small by the normal's."""
    found = significance.Mean(4.0, 0.1, 1.0, 2.0)
    assert significance.needed(found, 3, 1265, 0.05)[0] > 3
    stuck = significance.Mean(0.05, 0.8, 1.0, 3.0)  # the seeds' error alone is twenty times it
    assert significance.needed(stuck, 3, 1265, 0.05) == (None, None)
    assert significance.needed(significance.Mean(0.0, 0.9, 0.0, 9), 1, 99, 0.05) == (None, None)


def test_the_smallest_paired_difference_is_the_one_that_mcnemars_test_finds_in_four_of_five():
    """8.8% discordant of 1,265 pictures: 2.33 points, and a simulation of that."""
    found = significance.smallest_paired_difference(0.088, 1265)
    assert found == pytest.approx(2.33, abs=0.005)
    rng = np.random.default_rng(0)
    apart = rng.binomial(1265, 0.088, 4000)
    better = rng.binomial(apart, (0.088 + found / 100) / 2 / 0.088)
    z = (2 * better - apart) / np.sqrt(apart)
    assert np.mean(np.abs(z) > stats.norm.isf(0.025)) == pytest.approx(0.8, abs=0.02)
    assert math.isnan(significance.smallest_paired_difference(0.01, 50))


def test_the_smallest_difference_is_cohens_arcsine_formula():
    """n = 2·((z₀.₉₇₅ + z₀.₈)/h)² pictures a system; for 1,269 at 84.66% almost 4 points."""
    found = significance.smallest_difference(84.66, 1269)
    h = 2 * math.asin(math.sqrt((84.66 + found) / 100)) - 2 * math.asin(math.sqrt(0.8466))
    assert 2 * ((1.959964 + 0.841621) / h) ** 2 == pytest.approx(1269, rel=1e-4)
    assert 3.7 < found < 3.9
    assert math.isnan(significance.smallest_difference(99.9, 20))
