"""Time that the passes of a network over whole images take, told before and during them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stvm.data.datasets import has_source_val, open_source, open_target_images
from stvm.durations import duration
from stvm.evaluation.label_free import SCORED_IMAGES
from stvm.evaluation.trial_evaluator import open_evaluation_images
from stvm.networks import SegmentationNetwork
from stvm.networks.segmentation_network import StagedFeatures
from stvm.settings import PUBLISHED, Settings
from stvm.trial.inputs import SOURCE_IMAGES
from stvm.trial.sample import SAMPLE_IMAGES

SAY_EVERY_S = 30.0
_EXTRACTORS: tuple[type[nn.Module], ...] = (StagedFeatures,)
"""Feature extractors of the full-size networks; the small network takes only seconds."""


def planned_pixels(settings: Settings, cache: Path) -> int:
    """Pixels that pass a network whose mIoU is measured as it is: the trial of the row Source."""
    data, images = settings.data, open_evaluation_images(settings, cache)
    protocol, graded = images.protocol, len(images)
    (height, width), _ = protocol.sizes(data.height, data.width)
    passes = height * width
    if settings.evaluation.multi_scale:
        scaled = sum(round(s * height) * round(s * width) for s in protocol.scales)
        passes += scaled * (2 if protocol.flip else 1)
    unlabelled = min(SCORED_IMAGES, len(open_target_images(data, cache)))
    total = graded * passes + (unlabelled + min(SAMPLE_IMAGES, graded)) * data.height * data.width
    if has_source_val(data):
        held_out = len(open_source(data, "val", cache))
        height, width = data.source_size()
        total += (min(SOURCE_IMAGES, held_out) if data.dataset in PUBLISHED else held_out) * (
            height * width
        )
    return total


@torch.no_grad()
def seconds_a_pixel(network: SegmentationNetwork, height: int, width: int) -> float:
    """Measured on one pass of an image of this size, on the network's device."""
    pixels = torch.rand(1, 3, height, width, device=next(network.parameters()).device)
    began = time.perf_counter()
    # A copy on the CPU waits for the device.
    network.logits(pixels).sum().item()
    return (time.perf_counter() - began) / (height * width)


class Told:
    """Says how much of the work is done, every half minute.

    Args:
        total: pixels in all.
        say: takes a line.
        now: clock in seconds.
    """

    def __init__(
        self,
        total: int,
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.done = total, 0
        self._say, self._now = say, now
        self._began = self._said = now()

    def __call__(self, pixels: int) -> None:
        """So many more have passed."""
        self.done += pixels
        now = self._now()
        if now - self._said < SAY_EVERY_S or self.done >= self.total:
            return
        self._said = now
        left = (now - self._began) * (self.total - self.done) / self.done
        self._say(f"  {100 * self.done / self.total:.0f} % done, about {duration(left)} left")


@contextmanager
def watching_passes(told: Callable[[int], None]) -> Iterator[None]:
    """Within the block `told` hears the pixels of every pass of a full-size feature extractor."""

    def hear(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(module, _EXTRACTORS):
            return
        images: torch.Tensor = inputs[0]
        if images.shape[1] == 3:
            told(len(images) * images.shape[-2] * images.shape[-1])

    hook = nn.modules.module.register_module_forward_hook(hear)
    try:
        yield
    finally:
        hook.remove()
