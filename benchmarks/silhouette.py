"""`python benchmarks/silhouette.py`: time of the silhouette over the number of pixels.

From ten thousand to a million made-up metric features, and scikit-learn, which compares all
pairs, on as many as it can take: the greatest difference and its time stand beside.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import silhouette_samples
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F

from stvm.evaluation.silhouette_score import ClusterSums

COUNTS = (10_000, 31_600, 100_000, 316_000, 1_000_000)


def features(count: int, num_classes: int, dimension: int) -> tuple[Tensor, Tensor]:
    """Unit vectors (P, D) around class centres, and their classes (P,)."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (count,), generator=generator)
    centres = torch.randn(num_classes, dimension, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return F.normalize(centres[labels] + noise, dim=1), labels


def linear(points: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Silhouette of every point."""
    sums = ClusterSums(num_classes, points.shape[1], points.device)
    sums.add(points, labels)
    return sums.silhouette(points, labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--pairs-up-to", type=int, default=10_000, help="for scikit-learn")
    options = parser.parse_args(arguments)
    lines = []
    for count in options.counts:
        points, labels = features(count, options.classes, options.dimension)
        start = time.perf_counter()
        found = linear(points, labels, options.classes)
        seconds = time.perf_counter() - start
        line = [f"{count:,}", f"{seconds:.3f}", f"{1e9 * seconds / count:.0f}"]
        if count <= options.pairs_up_to:
            start = time.perf_counter()
            pairs = silhouette_samples(points.numpy(), labels.numpy(), metric="sqeuclidean")
            line.append(f"{time.perf_counter() - start:.2f}")
            line.append(f"{np.abs(pairs - found.numpy()).max():.1e}")
        lines.append(line)
    head = ["pixels", "seconds", "ns a pixel", "scikit-learn, s", "greatest difference"]
    print(tabulate(lines, head, disable_numparse=True, colalign=["right"] * 5))
    return 0


if __name__ == "__main__":
    sys.exit(main())
