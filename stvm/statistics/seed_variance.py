"""Variance over seeds: pooled within realisations, with its interval, and ratios of two."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stvm.statistics.paired import TrialKey


@dataclass(frozen=True)
class SeedVariance:
    """Standard deviation of the seeds about the mean of their realisation.

    Attributes:
        dof: degrees of freedom, the number of values less the number of realisations.
        sd: root of the summed squares over `dof`; None when `dof` is 0.
    """

    dof: int
    sd: float | None = None

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Chi-square interval of `sd`, for normal values; None without an `sd`."""
        if self.sd is None:
            return None
        # Imported here: it takes a second, and few that import this module need it.
        from scipy import stats

        tails = stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], self.dof)
        low, high = (self.sd * math.sqrt(self.dof / tail) for tail in tails)
        return low, high


class VarianceRatio(NamedTuple):
    """Ratio of two variances with its F interval.

    Attributes:
        ratio: first variance over the second.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    ratio: float
    low: float
    high: float


def pooled_seed_variance(values: Mapping[TrialKey, float]) -> SeedVariance:
    """Variance of the seeds, pooled within realisations.

    Differences between the means of the realisations do not count.

    Args:
        values: figure of each trial, by realisation and seed.
    """
    groups: dict[int, list[float]] = {}
    for (realisation, _), value in values.items():
        groups.setdefault(realisation, []).append(value)
    dof = sum(len(group) - 1 for group in groups.values())
    if not dof:
        return SeedVariance(0)
    squares = sum(float(np.var(group)) * len(group) for group in groups.values())
    return SeedVariance(dof, math.sqrt(squares / dof))


def variance_ratio(
    one: SeedVariance, other: SeedVariance, level: float = 0.95
) -> VarianceRatio | None:
    """Variance of `one` over that of `other` with its F interval; None where one is missing or 0.

    The interval takes the two as independent and normal.
    """
    if one.sd is None or other.sd is None or not other.sd:
        return None
    # Imported here: it takes a second, and few that import this module need it.
    from scipy import stats

    ratio = (one.sd / other.sd) ** 2
    high, low = stats.f.ppf([0.5 + level / 2, 0.5 - level / 2], one.dof, other.dof)
    return VarianceRatio(ratio, ratio / float(high), ratio / float(low))
