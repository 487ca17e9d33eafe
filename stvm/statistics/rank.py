"""How well a score ranks trials: Spearman's correlation, and what choosing by it loses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEAST = 4
"""Trials of a realisation from which a correlation has an interval."""
Pair = tuple[float, float]
"""Score, higher is better, and figure of a trial."""
Pairs = Sequence[Pair]


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation within realisations, averaged with weights n - 3.

    Attributes:
        rho: None where no realisation allows one.
        low: lower end of the 95 % interval; None where it has none.
        high: upper end.
    """

    rho: float | None = None
    low: float | None = None
    high: float | None = None


def spearman(groups: Mapping[int, Pairs], level: float = 0.95) -> Correlation:
    """Correlation of scores and figures within each group of at least four trials.

    The interval is Fisher's with the standard error of Bonett and Wright (2000),
    sqrt((1 + rho^2 / 2) / sum(n - 3)); it takes trials as independent.
    """
    total = weights = 0.0
    for pairs in groups.values():
        if len(pairs) < LEAST:
            continue
        scores, figures = np.asarray(pairs, dtype=np.float64).T
        if np.ptp(scores) == 0 or np.ptp(figures) == 0:
            continue
        weight = len(pairs) - 3
        total += weight * float(stats.spearmanr(scores, figures).statistic)
        weights += weight
    if not weights:
        return Correlation()
    rho = total / weights
    if abs(rho) > 1 - 1e-9:
        return Correlation(rho)
    z = math.atanh(rho)
    half = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt((1 + rho**2 / 2) / weights)
    return Correlation(rho, math.tanh(z - half), math.tanh(z + half))


def _lost(pairs: Pairs) -> tuple[float, float]:
    scores, figures = np.asarray(pairs, dtype=np.float64).T
    chosen: NDArray[np.float64] = figures[scores == scores.max()]
    return float(figures.max() - chosen.mean()), float(figures.max() - figures.mean())


def regret(groups: Mapping[int, Pairs]) -> tuple[float, float] | None:
    """Figure of the best trial less that of the one with the highest score, and of a random one.

    Each is the mean over the groups of at least two trials; trials that tie for the highest score
    count with their mean. None without such a group.
    """
    losses = [_lost(pairs) for pairs in groups.values() if len(pairs) > 1]
    if not losses:
        return None
    score, random = np.asarray(losses).mean(axis=0)
    return float(score), float(random)
