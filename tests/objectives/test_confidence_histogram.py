"""Class thresholds from a histogram against sorted lists."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stvm.objectives.confidence_histogram import (
    CELLS,
    WIDTH,
    ConfidenceHistogram,
    as_float32_bound,
    cells_of,
    lower_edges,
)

RNG = np.random.default_rng(0)


def confidences(count: int) -> NDArray[np.float32]:
    """Confidences as networks give them: many close to 1, some equal to 1."""
    logits = RNG.normal(3, 5, count)
    return np.maximum(1 / (1 + np.exp(-logits)), 1 / 19).astype(np.float32)


def test_an_edge_is_below_the_exact_value_by_a_thousandth_of_its_doubt_at_most() -> None:
    values = confidences(200_000)
    edges = lower_edges(cells_of(values))
    assert (edges <= values).all()
    assert (values - edges <= WIDTH * (1 - edges)).all()
    assert WIDTH < 1e-3
    high = values > 1 - 2.0**-13
    assert high.sum() > 1000 and (values[high] == edges[high]).all()


def test_every_number_has_a_cell() -> None:
    values = np.array([0, 1e-30, 0.5, 1 - 2.0**-24, 1], np.float32)
    cells = cells_of(values)
    assert cells.min() == 0 and cells.max() < CELLS
    assert (np.diff(cells) <= 0).all() and cells[-1] == 0 and cells[-2] == 1
    assert cells_of(np.array([1 + 2.0**-23], np.float32))[0] == 0


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_a_rank_is_that_of_a_sorted_list(share: float) -> None:
    histogram = ConfidenceHistogram(3)
    values, classes = confidences(30_000), RNG.integers(0, 3, 30_000)
    for part in np.array_split(np.arange(30_000), 7):
        histogram.add(torch.from_numpy(values[part]), torch.from_numpy(classes[part]))
    ranks = np.floor(share * histogram.totals()).astype(np.int64)
    found = histogram.ranked(ranks)
    for c in range(3):
        exact = float(np.sort(values[classes == c])[::-1][ranks[c] - 1])
        assert exact - WIDTH * (1 - found[c]) <= found[c] <= exact


def test_a_bound_in_single_precision_lets_the_same_numbers_pass() -> None:
    values = confidences(5000)
    for threshold in (0.3, 0.7, 1 - 1e-9, 1.0, float(values[7])):
        bound = np.array([threshold])
        strict, equal = (as_float32_bound(bound, strict=s)[0] for s in (True, False))
        assert ((values > strict) == (values.astype(np.float64) > threshold)).all()
        assert ((values >= equal) == (values.astype(np.float64) >= threshold)).all()
