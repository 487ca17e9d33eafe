"""Evaluation on labelled target images: one confusion matrix over the whole split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stvm.batches import as_input, batch_size
from stvm.data.access import LabelledImages
from stvm.data.classes import IGNORE_ID
from stvm.data.reading import Uint8Array
from stvm.data.reads import spread_rows
from stvm.errors import StvmError
from stvm.networks import SegmentationNetwork, keeping_modes
from stvm.protocols import IMAGE, Protocol, Size

SAMPLED_PIXELS = 512


@dataclass(frozen=True)
class Score:
    """What a confusion matrix says; all are fractions.

    Attributes:
        miou: mean over the classes that occur in the labels.
        iou: of each class; None for a class that no label holds.
        pixel_accuracy: share of labelled pixels that are right.
    """

    miou: float
    iou: list[float | None]
    pixel_accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """For a record."""
        return {"miou": self.miou, "iou": self.iou, "pixel_accuracy": self.pixel_accuracy}


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Counts (C, C), row label and column prediction; pixels labelled 255 are left out.

    Args:
        labels: any shape, ids below `num_classes` or 255.
        predictions: of the same shape.
        num_classes: C.

    Raises:
        ValueError: another label.
    """
    # With a row for every byte nothing has to be picked out, which takes longer than counting.
    pairs = (labels.long() * num_classes + predictions).flatten()
    counts = torch.bincount(pairs, minlength=(IGNORE_ID + 1) * num_classes).view(-1, num_classes)
    if counts[num_classes:IGNORE_ID].any():
        raise ValueError(f"a label is neither below {num_classes} nor {IGNORE_ID}")
    return counts[:num_classes]


def score(confusion: Tensor) -> Score:
    """mIoU of a confusion matrix (C, C): intersection over union, averaged over classes.

    A class that no label holds has no IoU and is left out of the mean, also where it is predicted;
    the pixels so predicted are errors of their own classes. Cityscapes' own evaluation
    (cityscapesscripts) counts such a class as 0 once a single pixel is predicted as it; where every
    class is labelled, as in the sets of the paper, the two are equal.
    """
    counts = confusion.double().cpu()
    right, labelled = counts.diagonal(), counts.sum(1)
    iou = (right / (labelled + counts.sum(0) - right)).where(labelled > 0, torch.nan)
    total = float(counts.sum())
    return Score(
        float(iou.nanmean()),
        [None if v != v else v for v in iou.tolist()],
        float(right.sum()) / total if total else float("nan"),
    )


class Spread:
    """Some of the images, evenly spaced; all where there are no more.

    Args:
        images: to choose among.
        most: how many.
    """

    def __init__(self, images: LabelledImages, most: int) -> None:
        self._images = images
        self._rows = spread_rows(len(images), most)

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        return self._images.image(self._rows[index])

    def label(self, index: int) -> Uint8Array:
        """Train ids (H, W), 255 ignored."""
        return self._images.label(self._rows[index])


def labelled_batches(
    images: LabelledImages, device: torch.device, most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole images (N, 3, H, W) in [0, 1] with labels (N, H', W'), in order.

    Args:
        images: all of one size, and so their labels.
        device: of the tensors.
        most: images a batch; None for as many as `batch_size` allows.
    """
    rows: list[tuple[Uint8Array, Uint8Array]] = []
    for i in range(len(images)):
        rows.append((images.image(i), images.label(i)))
        limit = most or batch_size(max(rows[0][0][..., 0].size, rows[0][1].size))
        if len(rows) == limit or i + 1 == len(images):
            labels = torch.from_numpy(np.stack([label for _, label in rows])).to(device)
            yield as_input([image for image, _ in rows], device), labels
            rows = []


def check_labels(images: LabelledImages, split: str) -> None:
    """Read every label once, so that a faulty one is met before training and not after it.

    Raises:
        StvmError: a label that cannot be used, or no labelled pixel in the whole split.
    """
    known = sum(int((images.label(i) != IGNORE_ID).sum()) for i in range(len(images)))
    if not known:
        raise StvmError(
            f"all pixels of the target's split '{split}' are labelled {IGNORE_ID}: "
            "evaluation needs labels; set eval_split to a split that has them"
        )


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork,
    images: LabelledImages,
    num_classes: int,
    device: torch.device,
    protocol: Protocol = IMAGE,
    multi_scale: bool = False,
) -> Score:
    """mIoU of a network in eval mode, whose modes and buffers stay as they were.

    The network's logits are enlarged at once to the size of the labels, as the field's codes do.

    Args:
        network: takes images in [0, 1].
        images: of the protocol's input size, with labels of its label size.
        num_classes: C.
        device: of the network.
        protocol: how logits are enlarged, and scales and flips of multi-scale testing.
        multi_scale: the softmax summed over the protocol's scales and flips, each enlarged to the
            size of the labels, takes the place of the logits.
    """
    total = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)
    scores = multi_scale_scores if multi_scale else enlarged_logits
    with keeping_modes(network):
        network.eval()
        for pixels, labels in labelled_batches(images, device):
            size = (labels.shape[-2], labels.shape[-1])
            # On a CPU `argmax` over channels takes five times as long.
            predictions = scores(network, pixels, size, protocol).max(1).indices
            total += confusion_matrix(labels, predictions, num_classes)
    return score(total)


def enlarged_logits(
    network: SegmentationNetwork, pixels: Tensor, size: Size, protocol: Protocol
) -> Tensor:
    """Logits (N, C, *size) of images (N, 3, H, W) in [0, 1]."""
    return _enlarged(network.logits(pixels), size, protocol)


def multi_scale_scores(
    network: SegmentationNetwork, pixels: Tensor, size: Size, protocol: Protocol
) -> Tensor:
    """Sum over scales and flips of the softmax of the enlarged logits, (N, C, *size)."""
    total: Tensor | None = None
    height, width = pixels.shape[-2:]
    for scale in protocol.scales:
        wanted = (round(scale * height), round(scale * width))
        scaled = pixels if scale == 1 else _resized(pixels, wanted)
        for mirrored in (False, True) if protocol.flip else (False,):
            logits = network.logits(scaled.flip(-1) if mirrored else scaled)
            shares = _enlarged(logits.flip(-1) if mirrored else logits, size, protocol).softmax(1)
            total = shares if total is None else total.add_(shares)
    if total is None:
        raise ValueError(f"protocol {protocol.name} has no scales")
    return total


def _enlarged(logits: Tensor, size: Size, protocol: Protocol) -> Tensor:
    return F.interpolate(
        logits.float(), size, mode="bilinear", align_corners=protocol.align_corners
    )


def _resized(pixels: Tensor, size: Size) -> Tensor:
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)


def auroc(scores: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float | None:
    """Probability that a right pixel scores above a wrong one (ties count half).

    The rank formula of Mann and Whitney; None when all are right or all wrong.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if not positive or not negative:
        return None
    # Not by scipy.stats, whose import would add a second to the start of every worker.
    _, value_of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[value_of]
    above = float(ranks[right].sum()) - positive * (positive + 1) / 2
    return above / (positive * negative)


@torch.no_grad()
def judge_labels(
    read: Callable[[Tensor], dict[str, Tensor]],
    images: LabelledImages,
    device: torch.device,
) -> dict[str, float | None]:
    """How well each score tells right pseudo-labels from wrong ones, as AUROC.

    Args:
        read: images -> {"labels": pseudo-labels (N, H, W), a name: scores (N, H, W), ...}.
        images: held out; at most 512 pixels of each are sampled, always the same.
        device: of the networks.
    """
    right: list[Tensor] = []
    scores: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    for pixels, labels in labelled_batches(images, device):
        maps = read(pixels)
        predicted = maps.pop("labels")
        size = labels[0].numel()
        drawn = torch.randperm(size, generator=generator)[:SAMPLED_PIXELS].to(device)
        flat = labels.flatten(1)[:, drawn]
        known = flat != IGNORE_ID
        right.append((predicted.flatten(1)[:, drawn] == flat)[known])
        for name, values in maps.items():
            scores.setdefault(name, []).append(values.flatten(1)[:, drawn][known])
    correct = torch.cat(right).cpu().numpy()
    return {name: auroc(torch.cat(v).cpu().numpy(), correct) for name, v in scores.items()}
