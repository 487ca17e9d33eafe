"""`python benchmarks/evaluation.py`: mIoU beside Cityscapes' own evaluation, and its time.

Both read the same made-up predictions and labels, PNG files of 2048x1024 pixels with all 19
classes. Needs `pip install cityscapesscripts`. A third line is what evaluation adds to the
network's pass: logits of an eighth of the input enlarged to the labels, their maximum, the counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate

from stvm.data.cityscapes import CITYSCAPES
from stvm.evaluation.evaluate import enlarged_logits
from stvm.evaluation.miou import confusion_matrix, score
from stvm.networks import SegmentationNetwork
from stvm.settings.protocols import find_protocol

HEIGHT, WIDTH = 1024, 2048
TRAIN_IDS = dict(zip((7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33), range(19), strict=True))
"""Label ids of Cityscapes' files to train ids."""


def write_maps(folder: Path, count: int) -> tuple[list[str], list[str]]:
    """Predictions and labels in blocks, nine of ten equal; paths of their files."""
    rng = np.random.default_rng(0)
    ids = np.array([*TRAIN_IDS, 4], np.uint8)
    shape = (HEIGHT // 16, WIDTH // 16)
    predictions: list[str] = []
    labels: list[str] = []
    for number in range(count):
        truth = rng.integers(0, 20, shape)
        guess = np.where(rng.random(shape) < 0.9, truth % 19, rng.integers(0, 19, shape))
        for paths, maps, name in ((labels, truth, "label"), (predictions, guess, "prediction")):
            path = folder / f"{name}_{number:06d}_000000_labelIds.png"
            Image.fromarray(ids[maps].repeat(16, 0).repeat(16, 1)).save(path)
            paths.append(str(path))
    return predictions, labels


def ours(predictions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
    """IoU of each class by this project."""
    to_train = np.full(256, 255, np.uint8)
    to_train[list(TRAIN_IDS)] = list(TRAIN_IDS.values())

    def read(path: str) -> torch.Tensor:
        return torch.from_numpy(to_train[np.array(Image.open(path))])

    total = torch.zeros(19, 19, dtype=torch.long)
    for guess, truth in zip(predictions, labels, strict=True):
        total += confusion_matrix(read(truth), read(guess), 19)
    return score(total).iou


def theirs(predictions: Sequence[str], labels: Sequence[str]) -> list[float | None]:
    """IoU of each class by cityscapesscripts, without its scores of instances."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    evaluation.args.evalInstLevelScore = False
    evaluation.args.JSONOutput = False
    evaluation.args.quiet = True
    found = evaluation.evaluateImgLists(list(predictions), list(labels), evaluation.args)
    return [found["classScores"][name] for name in CITYSCAPES]


def enlarge_and_count(labels: Sequence[str]) -> None:
    """What follows the network's pass on each image."""
    logits = torch.randn(1, 19, 65, 129, generator=torch.Generator().manual_seed(0))
    network = cast(SegmentationNetwork, SimpleNamespace(logits=lambda images: logits))
    protocol = find_protocol("adaptsegnet")
    pixels = torch.zeros(1, 3, 8, 8)
    truth = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    for _ in labels:
        found = enlarged_logits(network, pixels, (HEIGHT, WIDTH), protocol).max(1).indices
        confusion_matrix(truth, found, 19)


def timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    """What it returns, and seconds."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 where the two differ by more than 1e-9."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        predictions, labels = write_maps(Path(folder), options.images)
        own, own_s = timed(ours, predictions, labels)
        other, other_s = timed(theirs, predictions, labels)
        _, enlarging_s = timed(enlarge_and_count, labels)
    lines = [
        (what, f"{seconds:.2f}", f"{1000 * seconds / options.images:.0f}", ratio, f"{miou:.10f}")
        for what, seconds, ratio, miou in (
            ("cityscapesscripts, from files", other_s, "1.00", float(np.mean(other))),
            ("stvm, from files", own_s, f"{own_s / other_s:.2f}", float(np.mean(own))),
        )
    ]
    lines.append(("stvm, logits to counts", f"{enlarging_s:.2f}",
                  f"{1000 * enlarging_s / options.images:.0f}", "", ""))  # fmt: skip
    head = [f"{options.images} images of {WIDTH}x{HEIGHT}", "s", "ms an image", "ratio", "mIoU"]
    print(tabulate(lines, head, disable_numparse=True, colalign=["left", *["right"] * 4]))
    apart = float(np.abs(np.subtract(own, other)).max())
    print(f"greatest difference of an IoU: {apart:.1e}")
    return int(apart > 1e-9)


if __name__ == "__main__":
    sys.exit(main())
