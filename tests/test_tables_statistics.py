"""Intervals cover what they say, by simulation; ranks and losses against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from reports.rank import regret, spearman
from reports.spread import Spread, spread, variance_ratio


def seeds(values, realisation=0):
    return {(realisation, seed): float(value) for seed, value in enumerate(values)}


def test_spread_of_one_realisation_is_numpys():
    values = np.random.default_rng(0).normal(size=5)
    found = spread(seeds(values))
    assert found.freedom == 4 and found.sd == pytest.approx(values.std(ddof=1))


def test_spread_pools_the_squares_about_each_realisations_mean():
    found = spread(seeds([1, 2, 3]) | seeds([10, 14], 1) | seeds([5], 2))
    assert found == Spread(3, pytest.approx(np.sqrt((2 + 8) / 3)))
    assert spread(seeds([1])) == Spread(0) and Spread(0).interval() is None


def test_the_interval_of_the_sd_covers_it_19_times_of_20():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        values = rng.normal(0, 3, (2, 4)) + [[0], [50]]
        low, high = spread(seeds(values[0]) | seeds(values[1], 1)).interval()
        covered += low <= 3 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_the_ratio_covers_it_19_times_of_20():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(2000):
        one, other = spread(seeds(rng.normal(0, 2, 4))), spread(seeds(rng.normal(0, 1, 6)))
        ratio, low, high = variance_ratio(one, other)
        assert low < ratio < high
        covered += low <= 4 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    assert variance_ratio(Spread(0), Spread(3, 1.0)) is None
    assert variance_ratio(Spread(3, 1.0), Spread(3, 0.0)) is None


def test_one_realisation_has_scipys_correlation_ties_included():
    rng = np.random.default_rng(3)
    pairs = rng.integers(0, 6, (40, 2)).astype(float)
    found = spearman({0: pairs})
    assert found.rho == pytest.approx(stats.spearmanr(*pairs.T).statistic)


def test_the_interval_of_the_correlation_covers_it_19_times_of_20():
    rng = np.random.default_rng(4)
    r = 0.6
    truth = 6 / np.pi * np.arcsin(r / 2)
    covered = 0
    for _ in range(600):
        pairs = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], 60)
        found = spearman({0: pairs[:30], 1: pairs[30:] + [5, -5]})
        covered += found.low <= truth <= found.high
    assert covered / 600 == pytest.approx(0.95, abs=0.025)


def test_realisations_are_not_mixed_and_weigh_by_their_trials():
    rising = [(i, i) for i in range(7)]
    falling = [(i + 100, 100 - i) for i in range(5)]
    assert spearman({0: rising}).rho == pytest.approx(1)
    assert spearman({0: rising}).low is None
    assert spearman({0: rising, 1: falling}).rho == pytest.approx((4 - 2) / 6)


def test_what_has_no_correlation_is_none():
    assert spearman({0: [(1, 1), (2, 2), (3, 3)]}).rho is None
    assert spearman({0: [(1, i) for i in range(9)]}).rho is None
    assert spearman({}).rho is None


def test_what_choosing_loses_is_the_mean_over_realisations_and_ties_share():
    first = [(1.0, 0.5), (2.0, 0.4), (0.0, 0.3)]
    second = [(1.0, 0.9), (1.0, 0.7), (0.0, 0.2)]
    score, random = regret({0: first, 1: second, 2: [(1.0, 0.1)]})
    assert score == pytest.approx((0.1 + 0.1) / 2)
    assert random == pytest.approx((0.1 + 0.3) / 2)
    assert regret({0: [(1.0, 0.1)]}) is None
