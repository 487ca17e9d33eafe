"""Means with t intervals, and differences of trials paired by realisation and seed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TrialKey = tuple[int, int | None]
"""Realisation and seed; the seed is None where one trial stands for all seeds."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its deviation and interval; None is a figure that does not exist.

    Attributes:
        n: number of values.
        mean: sample mean; None when n is 0.
        sd: sample standard deviation with n - 1 in the denominator; None when n < 2.
        low: lower end of the t interval of the mean; None when n < 2.
        high: upper end of the t interval of the mean; None when n < 2.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def estimate(values: Iterable[float], level: float = 0.95) -> Estimate:
    """Mean, standard deviation and two-sided t interval of the mean.

    For differences of pairs, the interval is that of the paired t test.

    Args:
        values: sample; its values count as independent.
        level: confidence level of the interval, between 0 and 1.
    """
    array = np.asarray(list(values), dtype=np.float64)
    n = array.size
    if n == 0:
        return Estimate(0)
    mean = float(array.mean())
    if n == 1:
        return Estimate(1, mean)
    sd = float(array.std(ddof=1))
    # Imported here: it takes a second, and a search that is only listed needs no interval.
    from scipy import stats

    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def sort_key(key: TrialKey) -> tuple[int, int]:
    """Numbers that sort trials by realisation and seed; a missing seed comes first."""
    realisation, seed = key
    return realisation, -1 if seed is None else seed


def matched_pairs(
    row: Mapping[TrialKey, float], reference: Mapping[TrialKey, float]
) -> list[tuple[float, float]]:
    """Complete pairs (value of `row`, value of `reference`), by realisation and seed.

    Equal keys make a pair. A value without seed pairs with every seed of its realisation on the
    other side. Two values without seed make one pair.

    Args:
        row: values of one row of a table.
        reference: values of the row it is compared with.
    """
    pairs = []
    for key in sorted(row, key=sort_key):
        realisation, seed = key
        if key in reference:
            partners: Sequence[TrialKey] = [key]
        elif seed is None:
            partners = sorted((k for k in reference if k[0] == realisation), key=sort_key)
        else:
            partners = [k for k in [(realisation, None)] if k in reference]
        pairs += [(row[key], reference[partner]) for partner in partners]
    return pairs


def paired_difference(
    row: Mapping[TrialKey, float], reference: Mapping[TrialKey, float]
) -> Estimate:
    """Estimate of `row` minus `reference` over their complete pairs."""
    return estimate(value - base for value, base in matched_pairs(row, reference))
