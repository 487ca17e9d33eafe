"""Intervals cover what they say, by simulation; ranks and losses against scipy and by hand."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy import stats

from reports.sheets.cells import mark
from reports.sheets.sheet import Cell
from stvm.statistics import (
    Estimate,
    SeedVariance,
    TrialKey,
    estimate,
    matched_pairs,
    paired_difference,
    pooled_seed_variance,
    rank_correlation,
    selection_regret,
    variance_ratio,
)


def seeds(values, realisation=0):
    return {(realisation, seed): float(value) for seed, value in enumerate(values)}


def test_spread_of_one_realisation_is_numpys():
    values = np.random.default_rng(0).normal(size=5)
    found = pooled_seed_variance(seeds(values))
    assert found.dof == 4 and found.sd == pytest.approx(values.std(ddof=1))


def test_spread_pools_the_squares_about_each_realisations_mean():
    found = pooled_seed_variance(seeds([1, 2, 3]) | seeds([10, 14], 1) | seeds([5], 2))
    assert found == SeedVariance(3, pytest.approx(np.sqrt((2 + 8) / 3)))
    assert (
        pooled_seed_variance(seeds([1])) == SeedVariance(0) and SeedVariance(0).interval() is None
    )


def test_the_interval_of_the_sd_covers_it_19_times_of_20():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        values = rng.normal(0, 3, (2, 4)) + [[0], [50]]
        low, high = pooled_seed_variance(seeds(values[0]) | seeds(values[1], 1)).interval()
        covered += low <= 3 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_the_ratio_covers_it_19_times_of_20():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(2000):
        one, other = (
            pooled_seed_variance(seeds(rng.normal(0, 2, 4))),
            pooled_seed_variance(seeds(rng.normal(0, 1, 6))),
        )
        ratio, low, high = variance_ratio(one, other)
        assert low < ratio < high
        covered += low <= 4 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    assert variance_ratio(SeedVariance(0), SeedVariance(3, 1.0)) is None
    assert variance_ratio(SeedVariance(3, 1.0), SeedVariance(3, 0.0)) is None


def test_one_realisation_has_scipys_correlation_ties_included():
    rng = np.random.default_rng(3)
    pairs = rng.integers(0, 6, (40, 2)).astype(float)
    found = rank_correlation({0: pairs})
    assert found.rho == pytest.approx(stats.spearmanr(*pairs.T).statistic)


@pytest.mark.slow
def test_the_interval_of_the_correlation_covers_it_19_times_of_20():
    rng = np.random.default_rng(4)
    r = 0.6
    truth = 6 / np.pi * np.arcsin(r / 2)
    covered = 0
    for _ in range(600):
        pairs = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], 60)
        found = rank_correlation({0: pairs[:30], 1: pairs[30:] + [5, -5]})
        covered += found.low <= truth <= found.high
    assert covered / 600 == pytest.approx(0.95, abs=0.025)


def test_realisations_are_not_mixed_and_weigh_by_their_trials():
    rising = [(i, i) for i in range(7)]
    falling = [(i + 100, 100 - i) for i in range(5)]
    assert rank_correlation({0: rising}).rho == pytest.approx(1)
    assert rank_correlation({0: rising}).low is None
    assert rank_correlation({0: rising, 1: falling}).rho == pytest.approx((4 - 2) / 6)


def test_what_has_no_correlation_is_none():
    assert rank_correlation({0: [(1, 1), (2, 2), (3, 3)]}).rho is None
    assert rank_correlation({0: [(1, i) for i in range(9)]}).rho is None
    assert rank_correlation({0: [(i, 1) for i in range(9)]}).rho is None
    assert rank_correlation({}).rho is None


def test_a_realisation_without_correlation_hides_none_of_the_next() -> None:
    """Seven ranks that rise, behind a tie throughout and behind too few trials."""
    rising = [(i, i) for i in range(7)]
    for silent in ([(1, i) for i in range(9)], [(i, 1) for i in range(9)], [(1, 1)] * 3):
        assert rank_correlation({0: silent, 1: rising}).rho == pytest.approx(1)


def test_what_choosing_loses_is_the_mean_over_realisations_and_ties_share():
    first = [(1.0, 0.5), (2.0, 0.4), (0.0, 0.3)]
    second = [(1.0, 0.9), (1.0, 0.7), (0.0, 0.2)]
    found = selection_regret({0: first, 1: second, 2: [(1.0, 0.1)]})
    assert found.chosen == pytest.approx((0.1 + 0.1) / 2)
    assert found.random == pytest.approx((0.1 + 0.3) / 2)
    assert selection_regret({0: [(1.0, 0.1)]}) is None


def test_the_interval_of_the_correlation_by_hand():
    """Bonett and Wright (2000): atanh(rho) +- 1.96 sqrt((1 + rho^2 / 2) / (n - 3))."""
    # Ranks differ by 1 in eight places and by 3 in two: rho = 1 - 6 (8 + 2 x 9) / (10 x 99).
    other = [1, 0, 3, 2, 5, 4, 9, 8, 7, 6]
    rho = 1 - 6 * 26 / 990
    found = rank_correlation({0: list(enumerate(other))})
    half = 1.959963984540054 * math.sqrt((1 + rho * rho / 2) / 7)
    assert 0.1 < rho < 0.9 and found.rho == pytest.approx(rho)
    assert found.low == pytest.approx(math.tanh(math.atanh(rho) - half))
    assert found.high == pytest.approx(math.tanh(math.atanh(rho) + half))


def test_trials_pair_by_realisation_and_seed_and_a_yardstick_with_all_seeds_of_its_own():
    row: dict[TrialKey, float] = {(1, 0): 5.0, (0, 1): 3.0, (0, 0): 1.0, (2, 0): 99.0}
    above: dict[TrialKey, float] = {(0, 0): 10.0, (0, 1): 20.0, (1, 0): 30.0, (1, 1): 40.0}
    source: dict[TrialKey, float] = {(0, None): 7.0, (1, None): 8.0}
    assert matched_pairs(row, above) == [(1.0, 10.0), (3.0, 20.0), (5.0, 30.0)]
    assert matched_pairs(row, source) == [(1.0, 7.0), (3.0, 7.0), (5.0, 8.0)]
    assert matched_pairs(source, row) == [(7.0, 1.0), (7.0, 3.0), (8.0, 5.0)]
    assert matched_pairs(source, {(0, None): 1.0, (3, None): 2.0}) == [(7.0, 1.0)]
    both: dict[TrialKey, float] = {(0, 0): 2.0, (0, None): 1.0}
    assert matched_pairs(both, {(0, 0): 5.0, (0, None): 7.0}) == [(1.0, 7.0), (2.0, 5.0)]
    found = paired_difference(row, above)
    assert (found.n, found.mean) == (3, pytest.approx((-9 - 17 - 25) / 3))
    # t of 2 degrees of freedom at 0.975, from a table.
    half = 4.302653 * np.std([-9, -17, -25], ddof=1) / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))


def test_one_value_has_a_mean_alone_and_none_has_nothing() -> None:
    assert estimate([]) == Estimate(0, None, None, None, None)
    assert estimate([2.5]) == Estimate(1, 2.5, None, None, None)


def test_statistics_cannot_be_changed_once_they_are_made() -> None:
    for made, name in (
        (estimate([1.0]), "mean"),
        (SeedVariance(0), "sd"),
        (rank_correlation({}), "rho"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, 0.0)


@pytest.mark.parametrize(
    ("texts", "lowest", "marks"),
    [
        (["50.1"], False, [""]),
        (["50.1", "48.0"], False, ["best", ""]),
        (["50.1", "48.0", "49.0"], False, ["best", "", "second"]),
        (["50.1", "48.0", "49.0"], True, ["", "best", "second"]),
        (["50.1", "50.1", "49.0"], False, ["best", "best", "second"]),
        (["50.1", "", "49.0"], False, ["best", "", ""]),
        (["9.8", "10.2", "10.1", "9.9"], False, ["", "best", "second", ""]),
    ],
)
def test_best_and_second_are_marked_as_they_are_printed(texts, lowest, marks):
    rows = mark([(Cell("name"), Cell(text)) for text in texts], 1, range(len(texts)), lowest)
    assert [row[1].mark for row in rows] == marks
    assert all(row[0].mark == "" for row in rows)
