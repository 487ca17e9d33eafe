"""Statistics over the trials of a study: paired differences, intervals, ranks."""

from stvm.statistics.paired import (
    Estimate,
    TrialKey,
    estimate,
    matched_pairs,
    paired_difference,
    sort_key,
)
from stvm.statistics.rank import (
    MIN_TRIALS,
    RankCorrelation,
    Regret,
    ScoredTrial,
    rank_correlation,
    selection_regret,
)
from stvm.statistics.seed_variance import (
    SeedVariance,
    VarianceRatio,
    pooled_seed_variance,
    variance_ratio,
)

__all__ = [
    "MIN_TRIALS",
    "Estimate",
    "RankCorrelation",
    "Regret",
    "ScoredTrial",
    "SeedVariance",
    "TrialKey",
    "VarianceRatio",
    "estimate",
    "matched_pairs",
    "paired_difference",
    "pooled_seed_variance",
    "rank_correlation",
    "selection_regret",
    "sort_key",
    "variance_ratio",
]
