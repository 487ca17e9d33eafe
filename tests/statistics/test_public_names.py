"""The public names of the statistics, and what importing them costs."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

import stvm.statistics
from stvm.statistics import estimate, paired_difference, pooled_seed_variance, rank_correlation


def test_importing_the_statistics_loads_neither_scipy_nor_settings() -> None:
    program = (
        "import sys, stvm.statistics\n"
        "loaded = {'scipy', 'torch', 'pydantic', 'stvm.settings'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    assert all(hasattr(stvm.statistics, name) for name in stvm.statistics.__all__)


def test_the_public_names_give_scipys_figures() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 6))
    rows = [{(0, seed): float(v) for seed, v in enumerate(values)} for values in (one, other)]
    found = paired_difference(*rows)
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    wide = estimate(one - other, level=0.99)
    interval = stats.ttest_rel(one, other).confidence_interval(0.99)
    assert (wide.low, wide.high) == pytest.approx((interval.low, interval.high))
    assert pooled_seed_variance(rows[0]).sd == pytest.approx(one.std(ddof=1))
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    assert rank_correlation({0: pairs}).rho == pytest.approx(stats.spearmanr(one, other).statistic)
