"""mIoU of a network on labelled images: one confusion matrix over the whole split."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.batches import as_input, batch_size
from stvm.data.image_files import Uint8Array
from stvm.data.images import LabelledImages, OpenedLabelledImages
from stvm.errors import StvmError
from stvm.evaluation.class_mapping import ClassMapping, predicted_classes
from stvm.evaluation.miou import Score, confusion_matrix, score
from stvm.networks import SegmentationNetwork, preserve_modes
from stvm.settings.protocols import IMAGE, Protocol, Size


def labelled_batches(
    images: LabelledImages, device: torch.device, most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole images (N, 3, H, W) in [0, 1] with labels (N, H', W'), in order.

    Args:
        images: Images of one size, with labels of one size.
        device: Device of the returned tensors.
        most: Images per batch; None for as many as `batch_size` allows.
    """
    rows: list[tuple[Uint8Array, Uint8Array]] = []
    for i in range(len(images)):
        rows.append((images.image(i), images.label(i)))
        limit = most or batch_size(max(rows[0][0][..., 0].size, rows[0][1].size))
        if len(rows) == limit or i + 1 == len(images):
            labels = torch.from_numpy(np.stack([label for _, label in rows])).to(device)
            yield as_input([image for image, _ in rows], device), labels
            rows = []


def check_labels(images: OpenedLabelledImages, split: str) -> None:
    """Reads every label once, so that a faulty one is found before training.

    Raises:
        StvmError: A label that cannot be used, or no labelled pixel in the whole split.
    """
    ignored = images.labelling.ignore_index
    known = sum(int((images.label(i) != ignored).sum()) for i in range(len(images)))
    if not known:
        raise StvmError(
            f"all pixels of the target's split '{split}' are labelled {ignored}: "
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
    mapping: ClassMapping | None = None,
) -> Score:
    """mIoU of a network in eval mode; its modes and buffers stay unchanged.

    The network's logits are enlarged in one step to the size of the labels, as published code does.

    Args:
        network: Network that takes images in [0, 1].
        images: Images of the protocol's input size, with labels of its label size.
        num_classes: Number of the labels' classes, C.
        device: Device of the network.
        protocol: Protocol with the enlargement of logits, and scales and flips of multi-scale
            testing.
        multi_scale: True to sum the softmax over the protocol's scales and flips, each enlarged to
            the size of the labels, in place of the logits.
        mapping: Mapping of the network's classes to those of the labels; None if they are the same.
    """
    # One column more for pixels that are predicted as no class of the labels.
    width = num_classes + (mapping is not None)
    total = torch.zeros(width, width, dtype=torch.long, device=device)
    scores = multi_scale_scores if multi_scale else enlarged_logits
    with preserve_modes(network):
        network.eval()
        for pixels, labels in labelled_batches(images, device):
            size = (labels.shape[-2], labels.shape[-1])
            found = predicted_classes(scores(network, pixels, size, protocol), mapping)
            total += confusion_matrix(labels, found.clamp(max=num_classes), width)
    if total[num_classes:].any():
        raise ValueError(f"a label is neither below {num_classes} nor 255")
    return score(total[:num_classes])


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
