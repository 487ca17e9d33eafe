"""Spearman's rank correlation of scores and figures, and the regret of choosing by a score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_TRIALS = 4
"""Least number of trials of a realisation for which a correlation has an interval."""
ScoredTrial = tuple[float, float]
"""Score of a trial (higher is better) and its figure."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation within realisations, averaged with weights n - 3.

    Attributes:
        rho: correlation between -1 and 1; None where no realisation allows one.
        low: lower end of the interval; None where it has none.
        high: upper end of the interval; None where it has none.
    """

    rho: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Regret:
    """Loss of choosing a trial: figure of the best trial less that of the chosen one.

    Attributes:
        chosen: loss of choosing the trial with the highest score, the mean over realisations.
        random: loss of choosing a trial at random, the mean over realisations.
    """

    chosen: float
    random: float


def rank_correlation(
    groups: Mapping[int, Sequence[ScoredTrial]], level: float = 0.95
) -> RankCorrelation:
    """Spearman's correlation of scores and figures within each group of at least four trials.

    The interval is Fisher's with the standard error of Bonett and Wright (2000),
    sqrt((1 + rho^2 / 2) / sum(n - 3)). It takes trials as independent.

    Args:
        groups: scored trials by realisation.
        level: confidence level of the interval, between 0 and 1.
    """
    # Imported here: it takes a second, and few that import this module need it.
    from scipy import stats

    total = weights = 0.0
    for trials in groups.values():
        if len(trials) < MIN_TRIALS:
            continue
        scores, figures = np.asarray(trials, dtype=np.float64).T
        if np.ptp(scores) == 0 or np.ptp(figures) == 0:
            continue
        weight = len(trials) - 3
        total += weight * float(stats.spearmanr(scores, figures).statistic)
        weights += weight
    if not weights:
        return RankCorrelation()
    rho = total / weights
    if abs(rho) > 1 - 1e-9:
        return RankCorrelation(rho)
    z = math.atanh(rho)
    half = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt((1 + rho**2 / 2) / weights)
    return RankCorrelation(rho, math.tanh(z - half), math.tanh(z + half))


def _regret(trials: Sequence[ScoredTrial]) -> tuple[float, float]:
    scores, figures = np.asarray(trials, dtype=np.float64).T
    chosen: NDArray[np.float64] = figures[scores == scores.max()]
    return float(figures.max() - chosen.mean()), float(figures.max() - figures.mean())


def selection_regret(groups: Mapping[int, Sequence[ScoredTrial]]) -> Regret | None:
    """Loss of choosing by the score, and of choosing at random.

    Each is the mean over the groups of at least two trials; None without such a group. Trials that
    tie for the highest score count with their mean.

    Args:
        groups: scored trials by realisation.
    """
    losses = [_regret(trials) for trials in groups.values() if len(trials) > 1]
    if not losses:
        return None
    chosen, random = np.asarray(losses).mean(axis=0)
    return Regret(float(chosen), float(random))
