"""Scores of a network on target images that need no label.

`stvm.records.selection_scores` names and explains them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.batches import as_input, batch_size
from stvm.data.images import Images, evenly_spaced
from stvm.networks import SegmentationNetwork, preserve_modes

SCORED_IMAGES = 64
"""Images on which the scores of a finished training are computed."""
WATCHED_IMAGES = 8
"""Images on which `CollapseMonitor` looks during a training."""
PIXELS = 32
"""Pixels drawn from each image for the neighbourhood density."""
TEMPERATURE = 0.05
"""Temperature of the neighbourhood density, as Saito et al. have it."""


def load_even_subset(images: Images, count: int, device: torch.device) -> Tensor:
    """`count` images (or all) evenly spaced, (N, 3, H, W) in [0, 1]; always the same ones."""
    rows = evenly_spaced(len(images), count)
    return as_input([images.image(i) for i in rows], device)


def _batches(pixels: Tensor) -> tuple[Tensor, ...]:
    return tuple(pixels.split(batch_size(pixels.shape[-2] * pixels.shape[-1])))


@dataclass(frozen=True)
class PredictionSummary:
    """Predictions on N images, as far as the scores need them.

    Attributes:
        mean: Mean softmax over all pixels, (C,).
        entropy: Mean entropy over all pixels, in nats.
        classes: Predicted classes, (N, H, W).
        sampled: Softmax of pixels drawn from each image, (P, C).
    """

    mean: Tensor
    entropy: Tensor
    classes: Tensor
    sampled: Tensor


@torch.no_grad()
def predict(network: SegmentationNetwork, pixels: Tensor) -> PredictionSummary:
    """Predicts in eval mode; the network's modes and buffers stay unchanged."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(pixels.shape[-2] * pixels.shape[-1], generator=generator)[:PIXELS]
    means, entropies, classes, sampled = [], [], [], []
    with preserve_modes(network):
        network.eval()
        for batch in _batches(pixels):
            logits = network(batch)
            logs = F.log_softmax(logits, dim=1)
            shares = logs.exp()
            weight = len(batch) / len(pixels)
            means.append(shares.mean((0, 2, 3)) * weight)
            entropies.append(-(shares * logs).sum(1).mean() * weight)
            classes.append(logits.argmax(1))
            sampled.append(shares.flatten(2)[:, :, drawn.to(pixels.device)].transpose(1, 2))
    return PredictionSummary(
        torch.stack(means).sum(0),
        torch.stack(entropies).sum(),
        torch.cat(classes),
        torch.cat(sampled).flatten(0, 1),
    )


def entropy_of(shares: Tensor) -> Tensor:
    """Entropy in nats over the last dimension of shares that sum to 1."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy


def information(prediction: PredictionSummary) -> Tensor:
    """Entropy of the mean prediction minus the mean entropy, in nats (Bridle et al. 1991)."""
    return entropy_of(prediction.mean) - prediction.entropy


def soft_neighbourhood_density(shares: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean entropy of each point's similarities to the others (Saito et al. 2021), in nats.

    Args:
        shares: Softmax outputs (P, C).
        temperature: Temperature of the softmax over similarities.
    """
    unit = F.normalize(shares, dim=1)
    similar = (unit @ unit.T) / temperature
    similar.fill_diagonal_(-torch.inf)
    return entropy_of(F.softmax(similar, dim=1)).mean()


def label_free_scores(
    network: SegmentationNetwork,
    pixels: Tensor,
    other: Callable[[Tensor], Tensor] | None,
) -> dict[str, float | None]:
    """Entropy, information, neighbourhood density and agreement of the predictions.

    Args:
        network: Network that the trial reports.
        pixels: Unlabelled target images (N, 3, H, W) in [0, 1].
        other: Function from images to the classes of a second network, for the agreement; None if
            there is no second network.
    """
    prediction = predict(network, pixels)
    agreement = None
    if other:
        batches = _batches(pixels)
        own = prediction.classes.split(len(batches[0]))
        equal = [
            (other(batch) == classes).double().mean() * len(batch) / len(pixels)
            for batch, classes in zip(batches, own, strict=True)
        ]
        agreement = float(torch.stack(equal).sum())
    return {
        "entropy": float(prediction.entropy),
        "information_maximisation": float(information(prediction)),
        "soft_neighbourhood_density": float(soft_neighbourhood_density(prediction.sampled)),
        "agreement": agreement,
    }
