"""What networks go through, on the device against the CPU: evaluation, AdaBN, scores, steps."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from gpu_rows import Row, noted
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from stvm.data.batches import full_batches
from stvm.data.image_files import Uint8Array
from stvm.evaluation.collapse import CollapseMonitor
from stvm.evaluation.evaluate import evaluate
from stvm.evaluation.label_free import label_free_scores
from stvm.method.adabn import adapt_batch_norm
from stvm.networks import Architecture, SegmentationNetwork, build_network, small_features
from stvm.settings import Settings
from stvm.settings.protocols import find_protocol
from stvm.source_model.supervised import SupervisedTraining
from stvm.training.builder import build_adaptation

CPU = torch.device("cpu")
CLASSES = 5
CHANNELS = 32


class Photographs:
    """Smooth pictures with labels, the same on every machine.

    Args:
        count: how many.
        size: height and width of the images.
        enlarged: of the labels over the images.
    """

    def __init__(self, count: int, size: tuple[int, int], enlarged: int = 1) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, 3, size[0] // 8, size[1] // 8, generator=generator)
        smooth = F.interpolate(coarse, size, mode="bilinear")
        self._images = (255 * smooth).byte().permute(0, 2, 3, 1).numpy()
        labels = (CLASSES * smooth.mean(1, keepdim=True)).long().clamp(max=CLASSES - 1).float()
        large = F.interpolate(labels, scale_factor=enlarged)[:, 0]
        self._labels = large.byte().numpy()

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Uint8Array:
        """RGB (H, W, 3)."""
        image: Uint8Array = self._images[index]
        return image

    def label(self, index: int) -> Uint8Array:
        """Train ids (H', W'), the uppermost rows ignored."""
        label: Uint8Array = self._labels[index].copy()
        label[:4] = 255
        return label

    def pixels(self, device: torch.device) -> Tensor:
        """All of them, (N, 3, H, W) in [0, 1]."""
        return torch.from_numpy(self._images).to(device).permute(0, 3, 1, 2).float() / 255


def network_of(head: str) -> SegmentationNetwork:
    """A small network on the CPU with DeepLabV2's summed branches or DeepLabV3's head."""
    torch.manual_seed(0)
    if head == "deeplabv2":
        return build_network("small_deeplab", CHANNELS, CLASSES)
    make = head_without_dropout
    built = Architecture("small_deeplab", CHANNELS, CLASSES)
    return SegmentationNetwork(built, small_features(CHANNELS), make(CLASSES), make)


def head_without_dropout(out_channels: int) -> nn.Module:
    """DeepLabV3's head; a device draws other dropout masks than a CPU from the same seed."""
    head: nn.Module = DeepLabHead(CHANNELS, out_channels)
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return head


def settings_of(**changes: Any) -> Settings:
    """All parts on, at values with which each does something in the first step."""
    base: dict[str, Any] = {"n_f": 16, "tau_mocm": 4.0, "ema_period": 1, "ema_momentum": 0.1}
    return Settings().replace(**(base | {"metric_balance": "repeat"} | changes))


Found = dict[str, float | Tensor]
DRAWN = "metric loss"
"""Over pixels whose draw hangs on how many there are: one more, by rounding, draws all anew."""
DRAWN_TOLERANCE = 0.25


def evaluation(device: torch.device, size: tuple[int, int]) -> Found:
    """mIoU at the images' size, and at twice it with aligned corners and several scales."""
    network = network_of("deeplabv2").to(device)
    images, large = Photographs(6, size), Photographs(6, size, 2)
    protocol = find_protocol("adaptsegnet")
    once = evaluate(network, images, CLASSES, device)
    aligned = evaluate(network, large, CLASSES, device, protocol)
    several = evaluate(network, large, CLASSES, device, protocol, multi_scale=True)
    named = {"evaluation": once, "evaluation, corners aligned": aligned}
    named["evaluation, several scales and mirrored"] = several
    return {name: torch.tensor([s.miou, s.pixel_accuracy]) for name, s in named.items()}


def statistics(device: torch.device, size: tuple[int, int]) -> Found:
    """AdaBN's running statistics, over their own size."""
    network = network_of("deeplabv3").to(device)
    adapt_batch_norm(network, full_batches(Photographs(8, size), device, 4))
    kept = [v for k, v in network.state_dict().items() if "running" in k]
    return {"AdaBN": torch.cat([v.flatten() / v.abs().max().clamp(min=1e-6) for v in kept])}


def scores(device: torch.device, size: tuple[int, int]) -> Found:
    """Scores without labels, and what the watch on collapse sees."""
    network, other = network_of("deeplabv2").to(device), network_of("deeplabv3").to(device).eval()
    pixels = Photographs(6, size).pixels(device)
    with torch.no_grad():
        found = label_free_scores(network, pixels, lambda batch: other(batch).argmax(1))
    seen: Any = CollapseMonitor(network, pixels).measure(0)
    watched = [*seen["shares"], seen["entropy"], seen["information"]]
    return {
        "scores without labels": torch.tensor([float(v or 0) for v in found.values()]),
        "watch on collapse": torch.tensor(watched),
    }


def source_step(device: torch.device, size: tuple[int, int]) -> Found:
    """A step of source training (and of the oracle): how the weights move."""
    network = network_of("deeplabv2").to(device)
    training = SupervisedTraining(network, settings_of(source_augment=0.5), torch.rand(CLASSES))
    images = Photographs(2, size)
    pixels = torch.from_numpy(np.stack([images.image(i) for i in range(2)])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([images.label(i) for i in range(2)])).long()
    before = vector(network)
    torch.manual_seed(3)
    training.step(pixels, labels, 1)
    return {"step of source training: the weights' move": vector(network) - before}


def whole_step(device: torch.device, size: tuple[int, int]) -> Found:
    """A step of STvM with both heads, in float64: losses, and how student and teacher move.

    In float32 the batch norm behind DeepLabV3's image pooling makes a difference in the last digit
    of two means as large as the values: it divides by what little two images differ in.
    """
    found: Found = {}
    torch.set_default_dtype(torch.float64)
    try:
        for head in ("deeplabv2", "deeplabv3"):
            found |= _step_of(head, device, size)
    finally:
        torch.set_default_dtype(torch.float32)
    return found


def _step_of(head: str, device: torch.device, size: tuple[int, int]) -> Found:
    source = network_of(head).to(device)
    torch.manual_seed(4)
    adaptation = build_adaptation(settings_of(), source, CLASSES)
    before = vector(adaptation.student)
    report = adaptation.step(Photographs(2, size).pixels(device).double(), 1)
    values = (report.loss, report.reliability, report.selected)
    return {
        f"step, {head} head: loss, reliability, share": torch.stack(list(values)),
        f"step, {head} head: {DRAWN}": report.metric_loss,
        f"step, {head} head: the student's move": vector(adaptation.student) - before,
        f"step, {head} head: the teacher's move": vector(adaptation.teacher) - before,
    }


def vector(network: torch.nn.Module) -> Tensor:
    """All parameters, on the CPU."""
    flat = [p.detach().flatten().cpu() for p in network.parameters()]
    return copy.deepcopy(torch.cat(flat))


GROUPS: tuple[tuple[Callable[[torch.device, tuple[int, int]], Found], float], ...] = (
    (evaluation, 2e-3),
    (statistics, 1e-3),
    (scores, 2e-3),
    (source_step, 2e-2),
    (whole_step, 1e-4),
)
"""Functions with the tolerance of what they give: the norm of the difference over the norm."""


def networks(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each thing that networks go through."""
    size = (32, 64) if toy else (128, 256)
    for function, tolerance in GROUPS:
        row: Row = {"check": function.__name__.replace("_", " ")}
        with noted(row):
            expected, found = function(CPU, size), function(device, size)
            for name, value in expected.items():
                ours = torch.as_tensor(found[name]).detach().double().cpu()
                theirs = torch.as_tensor(value).detach().double().cpu()
                gap = float((ours - theirs).norm() / theirs.norm().clamp(min=1e-12))
                allowed = DRAWN_TOLERANCE if name.endswith(DRAWN) else tolerance
                yield {
                    "check": name,
                    "difference": gap,
                    "tolerance": allowed,
                    "passed": gap <= allowed,
                }
        if "error" in row:
            yield row
