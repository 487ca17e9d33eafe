"""The offline pass of a round: a survey of confidences, then a label for each pixel.

Both go batch by batch in the order of the images. Their progress is saved now and then, so that a
killed pass goes on and ends with the same labels: its batches are those of a pass that was not
killed.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stvm.method.mixed_statistics import batch_norms
from stvm.objectives.confidence_histogram import ConfidenceHistogram
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Objective, TargetImages

SAVE_S = 20.0
"""Least seconds between two saved states of a pass."""
_SURVEYED = "surveyed"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

Arrays = Mapping[str, NDArray[Any]]


def nothing() -> Arrays:
    """No arrays: the pass changes nothing beside the labels."""
    return {}


def takes_single_images(objective: Objective) -> bool:
    """Whether the pass of an objective gives its network one image at a time.

    So it does where running statistics follow each image, and where batch norm takes the statistics
    of its input: several images would change both.
    """
    return objective.one_by_one or objective.given.label.bn == "batch"


class OfflinePass:
    """A pass over the target images that fills the labels of a round.

    Args:
        images: Target images.
        labels: Labels of the round, complete or as far as an interrupted pass came.
        changed: Function that returns whatever the pass changes beside the labels, by name; it is
            saved with them.
        size: Number of images that are labelled together; None for as many as go through a network
            together in evaluation.
    """

    def __init__(
        self,
        images: TargetImages,
        labels: LabelStore,
        changed: Callable[[], Arrays] = nothing,
        size: int | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.changed = changed
        self.size = size or images.size_of_batch()
        self._histogram: ConfidenceHistogram | None = None
        self._shown: dict[str, int] = {}
        self._next = time.monotonic() + SAVE_S
        self._at: tuple[int, int] | None = None

    @property
    def kept(self) -> Arrays:
        """Arrays that an interrupted pass saved last; empty at the start."""
        return self.labels.kept

    def survey(
        self, num_classes: int, shares_of: Callable[[Tensor], Tensor]
    ) -> ConfidenceHistogram:
        """The histogram of the confidences on all images.

        Args:
            num_classes: Number of classes, C.
            shares_of: Function from images (N, 3, H, W) to probabilities (N, C, H, W).
        """
        self._histogram = histogram = ConfidenceHistogram(num_classes)
        start = 0
        if _SURVEYED in self.kept:
            start, histogram.counts = int(self.kept[_SURVEYED]), self.kept["counts"]
        for images, end in self._batches(start):
            histogram.add(*shares_of(images).max(dim=1))
            self._save(0, end)
        return histogram

    def show(self, name: str, look: Callable[[Tensor], None]) -> None:
        """Shows all images to a function before any is labelled.

        Args:
            name: Name of this look at the images, by which an interrupted one goes on.
            look: Function that is given images (N, 3, H, W); what it finds is in `changed`.
        """
        name = f"shown_{name}"
        self._shown[name] = start = int(self.kept.get(name, 0))
        for images, end in self._batches(start):
            look(images)
            self._shown[name] = end
            self._save(0, end)

    def write(self, labels_of: Callable[[Tensor], Tensor]) -> None:
        """Labels the images that have no label yet.

        Args:
            labels_of: Function from images (N, 3, H, W) to labels (N, H, W), 255 for none.
        """
        for images, end in self._batches(self.labels.done):
            for index, labels in enumerate(labels_of(images), end - len(images)):
                self.labels.write(index, labels)
            self._save(end, len(self.images))

    def _batches(self, start: int) -> Iterator[tuple[Tensor, int]]:
        """Images (N, 3, H, W) from `start` on, and the index after the last of them."""
        for first in range(start, len(self.images), self.size):
            try:
                images = self.images.batch(first, self.size)
            except KeyboardInterrupt:
                # Asked to stop between two batches: nothing done so far is lost.
                if self._at:
                    self._write_state(*self._at)
                raise
            yield images, min(first + self.size, len(self.images))

    def _save(self, done: int, surveyed: int) -> None:
        self._at = done, surveyed
        last = len(self.images) in (done, surveyed if not done else 0)
        if not last and time.monotonic() < self._next:
            return
        self._write_state(done, surveyed)

    def _write_state(self, done: int, surveyed: int) -> None:
        kept = dict(self.changed()) | {n: np.array(end) for n, end in self._shown.items()}
        if self._histogram:
            kept |= {_SURVEYED: np.array(surveyed), "counts": self._histogram.counts}
        self.labels.save(done, **kept)
        self._next = time.monotonic() + SAVE_S


def statistics_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Running statistics of the batch norms of a network, by name."""
    return {
        f"{name}{number}": norm.get_buffer(name).detach().cpu().numpy().copy()
        for number, norm in enumerate(batch_norms(network))
        for name in _STATISTICS
    }


@torch.no_grad()
def restore_statistics(network: nn.Module, kept: Arrays) -> None:
    """Gives a network the running statistics that `statistics_of` returned."""
    for number, norm in enumerate(batch_norms(network)):
        for name in _STATISTICS:
            value = torch.from_numpy(np.asarray(kept[f"{name}{number}"]))
            norm.get_buffer(name).copy_(value)
