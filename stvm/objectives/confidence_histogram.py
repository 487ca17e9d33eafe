"""Confidences of each class as a histogram, from which class thresholds are read.

A list of all confidences of a target set would take gigabytes. The cells of the histogram are
spaced like floating-point numbers q = 1 - p, where p is the confidence: between two powers of two
of q there are 1024 cells. So a threshold is too low by at most 2**-10 of its q. That is 0.0005 at
p = 0.5, and nothing above p = 0.9999, where every float32 has a cell of its own. Most pixels of
frequent classes have a confidence close to 1; cells of equal width would not tell these apart.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_BITS = 10
"""Bits of the mantissa of q that a cell keeps."""
_SMALLEST = 1023 - 24
"""Exponent of a double of 2**-24, the smallest doubt of a float32 below 1."""
_DROPPED = 52 - _BITS
_BASE = _SMALLEST << _BITS
CELLS = (24 << _BITS) + 2
"""Cells of a class; the first one is that of p = 1, the last one that of p = 0."""
WIDTH = 2.0**-_BITS
"""Width of a cell, relative to its doubt."""


class ConfidenceHistogram:
    """Histogram of the confidences of each predicted class.

    It is counted on the CPU, so the same on every device.

    Args:
        num_classes: Number of classes, C.

    Attributes:
        counts: Pixels in each cell, (C, CELLS) int64, the most confident cell first.
    """

    def __init__(self, num_classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((num_classes, CELLS), np.int64)

    def add(self, confidence: Tensor, classes: Tensor) -> None:
        """Counts pixels.

        Args:
            confidence: Largest probabilities in [0, 1], any shape.
            classes: Their classes, same shape.
        """
        cells = cells_of(confidence.detach().float().cpu().numpy().ravel())
        cells += classes.cpu().numpy().ravel().astype(np.int64) * CELLS
        counted = np.bincount(cells, minlength=self.counts.size)
        self.counts += counted.reshape(self.counts.shape)

    def totals(self) -> NDArray[np.int64]:
        """Pixels of each class, (C,)."""
        totals: NDArray[np.int64] = self.counts.sum(axis=1)
        return totals

    def ranks_of_share(self, share: float) -> NDArray[np.int64]:
        """floor(share n_c), the rank that a share of the n_c pixels of each class reaches, (C,)."""
        # A share such as 0.2 is a little above itself in binary, and 0.3 a little below.
        ranks: NDArray[np.int64] = np.floor(share * self.totals() + 1e-9).astype(np.int64)
        return ranks

    def ranked(self, ranks: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Lower edge of the cell of the confidence at a rank of each class, (C,).

        It is never above the exact value, and lower by at most `WIDTH` times its doubt.

        Args:
            ranks: Rank of each class, counted from 1 for the most confident pixel.
        """
        reached = self.counts.cumsum(axis=1) >= np.asarray(ranks)[:, None]
        return lower_edges(reached.argmax(axis=1))


def cells_of(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """Cell of each confidence."""
    # In double precision the difference is exact.
    doubt = 1 - np.clip(confidence.astype(np.float64), 0, 1)
    cells: NDArray[np.int64] = np.maximum((doubt.view(np.int64) >> _DROPPED) - _BASE + 1, 0)
    return cells


def lower_edges(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Smallest float32 in each cell, in double precision."""
    beyond = (cells.astype(np.int64) + _BASE) << _DROPPED
    open_edges = 1 - np.minimum(beyond.view(np.float64), 1.0)
    rounded = open_edges.astype(np.float32)
    above = np.nextafter(rounded, np.float32(np.inf))
    smallest = np.where(rounded <= open_edges, above, rounded).astype(np.float64)
    return np.where(cells == 0, 1.0, smallest)


def as_float32_bound(thresholds: NDArray[np.float64], *, strict: bool) -> NDArray[np.float32]:
    """Thresholds in single precision that the same float32 numbers pass.

    Args:
        thresholds: Thresholds in double precision.
        strict: Whether a number has to be above its threshold; otherwise it may be equal to it.
    """
    rounded = thresholds.astype(np.float32)
    if strict:
        lowered = np.nextafter(rounded, np.float32(-np.inf))
        return np.where(rounded > thresholds, lowered, rounded)
    raised = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded < thresholds, raised, rounded)
