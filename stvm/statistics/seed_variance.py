"""Standard deviations over seeds: pooled within realisations, their intervals and ratios."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from stvm.statistics.paired import Key


@dataclass(frozen=True)
class SeedVariance:
    """Deviation of seeds about the mean of their realisation.

    Attributes:
        freedom: degrees of freedom, the number of values less that of realisations.
        sd: square root of the summed squares over `freedom`; None when that is 0.
    """

    freedom: int
    sd: float | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Chi-square interval of the sd, which takes the values as normal; None without an sd."""
        if self.sd is None:
            return None
        tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], self.freedom)
        low, high = (self.sd * math.sqrt(self.freedom / tail) for tail in tails)
        return low, high


def pooled_seed_variance(values: Mapping[Key, float]) -> SeedVariance:
    """Of the seeds, pooled within realisations: what differs between these does not count."""
    groups: dict[int, list[float]] = {}
    for (realisation, _), value in values.items():
        groups.setdefault(realisation, []).append(value)
    freedom = sum(len(group) - 1 for group in groups.values())
    if not freedom:
        return SeedVariance(0)
    squares = sum(float(np.var(group)) * len(group) for group in groups.values())
    return SeedVariance(freedom, math.sqrt(squares / freedom))


def variance_ratio(
    one: SeedVariance, other: SeedVariance, level: float = 0.95
) -> tuple[float, float, float] | None:
    """Variance of `one` over that of `other` with its F interval; None where one is missing or 0.

    The interval takes the two as independent and normal.
    """
    if one.sd is None or other.sd is None or not other.sd:
        return None
    ratio = (one.sd / other.sd) ** 2
    tails = [0.5 + level / 2, 0.5 - level / 2]
    high, low = stats.f.ppf(tails, one.freedom, other.freedom)
    return ratio, ratio / float(high), ratio / float(low)
