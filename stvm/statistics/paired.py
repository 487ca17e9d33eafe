"""Mean, sample deviation and t intervals, with trials paired by realisation and seed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Key = tuple[int, int | None]
"""(realisation, seed); the seed is None for a row that has one trial a realisation."""


@dataclass(frozen=True)
class Estimate:
    """A mean with what its number of values allows; None is a figure that does not exist.

    Attributes:
        n: number of values.
        mean: None when n is 0.
        sd: sample standard deviation, ddof 1; None when n < 2.
        low: lower end of the t interval; None when n < 2.
        high: upper end of the t interval; None when n < 2.
    """

    n: int
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def estimate(values: Iterable[float], level: float = 0.95) -> Estimate:
    """Mean, sd (ddof 1) and two-sided t interval of the mean at `level`.

    Given differences of pairs, the interval is that of the paired t test.
    """
    array = np.asarray(list(values), dtype=np.float64)
    n = array.size
    if n == 0:
        return Estimate(0)
    mean = float(array.mean())
    if n == 1:
        return Estimate(1, mean)
    sd = float(array.std(ddof=1))
    # Takes a second to import, and a search that is only listed needs no interval.
    from scipy import stats

    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def order(key: Key) -> tuple[int, int]:
    """Sorting key of a (realisation, seed); a missing seed comes first."""
    realisation, seed = key
    return realisation, -1 if seed is None else seed


def pair_up(row: dict[Key, float], above: dict[Key, float]) -> list[tuple[float, float]]:
    """Complete pairs (value of `row`, value of `above`), ordered by realisation and seed.

    Equal keys pair. A value without seed pairs with every seed of its realisation on the other
    side; two values without seed give one pair.
    """
    pairs = []
    for key in sorted(row, key=order):
        realisation, seed = key
        if key in above:
            partners: Sequence[Key] = [key]
        elif seed is None:
            partners = sorted((k for k in above if k[0] == realisation), key=order)
        else:
            partners = [k for k in [(realisation, None)] if k in above]
        pairs += [(row[key], above[partner]) for partner in partners]
    return pairs


def paired_difference(row: dict[Key, float], above: dict[Key, float]) -> Estimate:
    """Estimate of `row` minus `above` over their complete pairs."""
    return estimate(value - base for value, base in pair_up(row, above))
