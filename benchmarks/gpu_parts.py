"""Every part of the method on the device against the same part on the CPU, in float32.

Inputs and draws are the same on both: they are made on the CPU. A tolerance is stated for each,
of what rounding may do; where a difference is relative, it is over the largest value.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from gpu_rows import Row, noted
from torch import Tensor
from torch.nn import functional as F

from stvm.evaluation.silhouette_score import ClusterSums
from stvm.method.distance import distance_to_predicted, sample_bilinear, upsampled_square_norm
from stvm.method.losses import weighted_cross_entropy
from stvm.method.metric_network import MetricLearner
from stvm.method.patches import PatchBank
from stvm.method.photometric import PhotometricAugmentation
from stvm.method.proxy_loss import balanced_sample, proxy_nca_loss
from stvm.method.regions import label_regions, region_statistics
from stvm.method.reliability import reliability
from stvm.method.thresholds import ClassThresholds, class_quantiles, most_confident
from stvm.networks import SummedAspp, upsample
from stvm.settings import ComputeSettings
from stvm.training.device import computing

CPU = torch.device("cpu")
METRIC_LR = 3e-4


@dataclass(frozen=True)
class Inputs:
    """What the parts are given, on one device.

    Attributes:
        images: (N, 3, H, W).
        features: (N, D, h, w).
        logits: (N, C, h, w).
        labels: (N, H, W), of smooth regions.
        confidence: (N, H, W).
        distances: (N, H, W).
        proxies: (C, D).
    """

    images: Tensor
    features: Tensor
    logits: Tensor
    labels: Tensor
    confidence: Tensor
    distances: Tensor
    proxies: Tensor

    def on(self, device: torch.device) -> "Inputs":
        """Copies on a device."""
        return Inputs(*(value.detach().clone().to(device) for value in vars(self).values()))

    @property
    def classes(self) -> int:
        """C."""
        return len(self.proxies)


def drawn(toy: bool) -> Inputs:
    """The same on every machine."""
    torch.manual_seed(0)
    images, classes, channels, (h, w) = (2, 5, 8, (8, 8)) if toy else (2, 19, 64, (64, 64))
    logits = upsample(4 * torch.randn(images, classes, h // 4, w // 4), (h, w))
    size = (4 * h, 4 * w)
    confidence, labels = F.softmax(upsample(logits, size), dim=1).max(1)
    return Inputs(
        torch.rand(images, 3, *size),
        torch.randn(images, channels, h, w),
        logits,
        labels,
        confidence,
        4 * torch.rand(images, *size),
        torch.randn(classes, channels),
    )


def quantiles(i: Inputs) -> Tensor:
    """Of the confidences of each class (eq. 1)."""
    return class_quantiles(i.confidence.flatten(), i.labels.flatten(), i.classes, 0.8).nan_to_num(9)


def thresholds(i: Inputs) -> Tensor:
    """After the frames of a batch."""
    kept = ClassThresholds(i.classes).to(i.images.device)
    kept.update(i.confidence, i.labels)
    return kept.values.nan_to_num(9)


def admitted(i: Inputs) -> Tensor:
    """Most confident pseudo-labels of Fig. 1, as shares of the images."""
    return most_confident(i.confidence, i.labels, i.classes, 0.4, "class").float().mean((1, 2))


def pixel_draw(i: Inputs) -> Tensor:
    """Pixels that train the metric network."""
    generator = torch.Generator().manual_seed(0)
    mask = i.confidence > 0.5
    return torch.stack(balanced_sample(mask, i.labels, i.classes, 64, "repeat", generator)).double()


def distances(i: Inputs) -> Tensor:
    """Equation 3 at every pixel."""
    return distance_to_predicted(i.features, i.proxies, i.labels)


def norms(i: Inputs) -> Tensor:
    """Squared norms of the enlarged features."""
    return upsampled_square_norm(i.features, (i.labels.shape[-2], i.labels.shape[-1]))


def metric_loss(i: Inputs) -> Tensor:
    """Equation 2 and its gradients for features and proxies."""
    maps, proxies = i.features.requires_grad_(), i.proxies.requires_grad_()
    mask, generator = i.confidence > 0.5, torch.Generator().manual_seed(0)
    pixels = balanced_sample(mask, i.labels, i.classes, 64, "repeat", generator)
    size = (i.labels.shape[-2], i.labels.shape[-1])
    loss = proxy_nca_loss(sample_bilinear(maps, size, pixels), i.labels[pixels], proxies, 0.25)
    found = torch.autograd.grad(loss, [maps, proxies])
    return torch.cat([loss.view(1), *(g.flatten() / g.abs().max() for g in found)])


def metric_step(i: Inputs) -> Tensor:
    """Loss, distances and the proxies' move after a step of metric network and proxies."""
    torch.manual_seed(1)
    head = SummedAspp(i.features.shape[1], i.proxies.shape[1], (1, 2, 4, 6)).to(i.images.device)
    size = i.proxies.shape[1]
    learner = MetricLearner(
        head, num_classes=i.classes, embedding_size=size, balance="repeat", lr=METRIC_LR
    )
    learner.proxies.data = i.proxies
    before = i.proxies.clone()
    reading = learner.train_step(i.features, i.labels, i.confidence)
    # Adam moves by its rate in the direction of a gradient, be it ever so small.
    moved = ((learner.proxies.detach() - before) / METRIC_LR).abs().mean()
    return torch.cat([reading.loss.view(1), moved.view(1), reading.distances.flatten()])


def patches(unit: Any) -> Callable[[Inputs], Tensor]:
    """Images, labels and reliability after banking and pasting."""

    def paste(i: Inputs) -> Tensor:
        bank = PatchBank(i.classes, buffer_size=5, max_distance=2.2, classes_per_image=4, unit=unit)
        weights = reliability(i.distances, 2.0, 0.6)
        bank.store(i.images, i.labels, weights, i.distances)
        mixed = bank.paste(i.images, i.labels, weights)
        return torch.cat([part.double().flatten() for part in mixed])

    return paste


def regions(i: Inputs) -> Tensor:
    """Mean distance and boxes of regions."""
    numbered, owners = label_regions(i.labels, i.classes, "class")
    means, boxes = region_statistics(numbered, i.distances, len(owners))
    return torch.cat([means.double(), boxes.double().flatten()])


def student_loss(norm: Any) -> Callable[[Inputs], Tensor]:
    """Equation 5 and its gradient for the logits."""

    def loss(i: Inputs) -> Tensor:
        logits, size = i.logits.requires_grad_(), (i.labels.shape[-2], i.labels.shape[-1])
        weights = reliability(i.distances, 2.0, 0.6)
        value = weighted_cross_entropy(upsample(logits, size), i.labels, weights, norm)
        (gradient,) = torch.autograd.grad(value, logits)
        return torch.cat([value.view(1), (gradient / gradient.abs().max()).flatten()])

    return loss


def photometric(i: Inputs) -> Tensor:
    """Colour jitter and blur with the same draws."""
    torch.manual_seed(2)
    return PhotometricAugmentation(0.25, probability=1.0, blur_probability=1.0)(i.images)


def silhouette(i: Inputs) -> Tensor:
    """Of every feature under the labels, in float64."""
    size = (i.features.shape[-2], i.features.shape[-1])
    labels = F.interpolate(i.labels[:, None].float(), size)[:, 0].long().flatten()
    points = F.normalize(i.features.permute(0, 2, 3, 1).flatten(0, 2), dim=1)
    sums = ClusterSums(i.classes, points.shape[1], points.device)
    sums.add(points, labels)
    return sums.silhouette(points, labels)


PARTS: dict[str, tuple[Callable[[Inputs], Tensor], float]] = {
    "quantiles of each class (eq. 1)": (quantiles, 1e-6),
    "thresholds after a batch (eq. 1)": (thresholds, 1e-6),
    "most confident labels (Fig. 1)": (admitted, 1e-4),
    "pixels drawn for the metric network": (pixel_draw, 0.0),
    "distances (eq. 3)": (distances, 1e-4),
    "squared norms of enlarged features": (norms, 1e-5),
    "proxy NCA loss and gradients (eq. 2)": (metric_loss, 1e-4),
    "step of metric network and proxies": (metric_step, 2e-3),
    "reliability (eq. 4)": (lambda i: reliability(i.distances, 2.0, 0.6), 1e-6),
    "loss and gradient (eq. 5), by pixels": (student_loss("pixels"), 1e-4),
    "loss and gradient (eq. 5), by weights": (student_loss("weights"), 1e-4),
    "regions: mean distances and boxes": (regions, 1e-5),
    "patches banked and pasted, classes": (patches("class"), 1e-6),
    "patches banked and pasted, components": (patches("component"), 1e-6),
    "photometric noise": (photometric, 2e-3),
    "silhouette": (silhouette, 1e-6),
}
"""Name to part and tolerance, relative to the largest value."""


def difference(part: Callable[[Inputs], Tensor], inputs: Inputs, device: torch.device) -> float:
    """Largest difference between device and CPU over the largest value."""
    expected = part(inputs.on(CPU)).detach().double()
    found = part(inputs.on(device)).detach().double().cpu()
    if found.shape != expected.shape:
        raise ValueError(f"shape {tuple(found.shape)}, on the CPU {tuple(expected.shape)}")
    gap = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    return float(gap)


def parts(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each part, then for what networks go through."""
    from gpu_networks import networks

    inputs = drawn(toy)
    with computing(ComputeSettings(), device):
        for name, (part, tolerance) in PARTS.items():
            row: Row = {"check": name, "difference": None, "tolerance": tolerance}
            with noted(row):
                gap = difference(part, inputs, device)
                row |= {"difference": gap, "passed": gap <= tolerance}
            yield row
        yield from networks(device, toy)
