"""The interface of an objective: what it is given, and what the trainer asks of it.

An objective is a loss on unlabelled target images. The trainer does the rest: it owns student,
optimiser, schedule, evaluation, saved states and records.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stvm.data.batches import batch_size
from stvm.data.images import Images
from stvm.method.mean_teacher import Labeller
from stvm.networks import SegmentationNetwork
from stvm.networks.forward_mode import ForwardMode
from stvm.objectives.label_store import LabelStore


@dataclass(frozen=True)
class Given:
    """Everything that an objective may work with.

    Attributes:
        student: Trained network; its modes and which of its parameters are trained are set.
        predict: Pass of the student, images (N, 3, H, W) in [0, 1] -> logits (N, C, H, W).
        start: Network at which the student begins (the start); read only. `frozen_copy` copies it.
        label: Labelling network that the settings choose: mean teacher, frozen start or student.
            An objective without labels never calls it.
        num_classes: Number of classes, C.
        seed: Seed of the trial; draws come from generators made of it.
        parts: Number of equal parts of a batch that pass the student one by one, to save memory.
        head_lr: Learning rate of classifiers, for those that an objective adds.
        augment: Photometric noise on the student's input, or the identity.
        forward_mode: Memory order, precision and compilation of passes.
    """

    student: SegmentationNetwork
    predict: Callable[[Tensor], Tensor]
    start: SegmentationNetwork
    label: Labeller
    num_classes: int
    seed: int
    parts: int
    head_lr: float
    augment: Callable[[Tensor], Tensor]
    forward_mode: ForwardMode

    @property
    def device(self) -> torch.device:
        """Device of the student."""
        return next(self.student.parameters()).device


@dataclass(frozen=True)
class WholeImages:
    """The whole images from which the crops of a batch were cut.

    Attributes:
        pixels: Images, (N, 3, H, W) uint8.
        places: Index of each crop's image, and top and left edge of the crop in it.
    """

    pixels: Tensor
    places: tuple[tuple[int, int, int], ...]

    @property
    def images(self) -> Tensor:
        """The images in [0, 1]."""
        return self.pixels.float() / 255

    def cut(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """The crops of maps (N, K, H, W) of the whole images, (N, K, h, w).

        Args:
            maps: Maps of the images' size.
            size: Height and width of a crop.
        """
        height, width = size
        crops = [
            one[:, top : top + height, left : left + width]
            for one, (_, top, left) in zip(maps, self.places, strict=True)
        ]
        return torch.stack(crops)


@dataclass(frozen=True)
class TargetBatch:
    """A batch of target crops.

    Attributes:
        images: Clean crops in [0, 1], (N, 3, H, W).
        labels: Labels of the objective's offline pass for the same pixels, (N, H, W) uint8 with
            255 for none; None for an objective without that pass.
        whole: The images of the crops, for an objective that asks for them.
    """

    images: Tensor
    labels: Tensor | None = None
    whole: WholeImages | None = None


def not_told(done: int) -> None:
    """Nobody hears of the images that are read."""


@dataclass(frozen=True)
class TargetImages:
    """The target images, read whole and in order, for an offline pass.

    Attributes:
        images: Target images of one size.
        device: Device of the student.
        tell: Function that is told how many images a sweep has read before each one is read; it
            raises KeyboardInterrupt where the pass is to end.
        alone: Whether each image goes through a network alone, as statistics of a batch ask for.
    """

    images: Images
    device: torch.device
    tell: Callable[[int], None] = not_told
    alone: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Tensor:
        """One image in [0, 1] on the student's device, (1, 3, H, W)."""
        self.tell(index)
        # Not by `as_input`: in its memory order convolutions round otherwise.
        pixels = torch.from_numpy(self.images.image(index)).to(self.device)
        return pixels.permute(2, 0, 1)[None].float() / 255

    def batch(self, start: int, size: int) -> Tensor:
        """Images in [0, 1] from `start` on, (N, 3, H, W); fewer than `size` at the end."""
        rows = range(start, min(start + size, len(self)))
        return torch.cat([self.image(row) for row in rows])

    def size_of_batch(self) -> int:
        """Number of images that go through a network together."""
        height, width = self.images.image(0).shape[:2]
        return 1 if self.alone else batch_size(height * width)


class Objective:
    """A loss on target images; subclasses take `Given` and their settings as keywords.

    Attributes:
        given: Networks and passes to work with.
        labels_offline: Whether `begin_round` writes labels, which batches then carry.
        whole_images: Whether batches carry the whole images of their crops, in place of labels.
        keeps_last_labels: Whether the labels of the round before are still there in a round.
        moves_teacher: Whether the objective itself moves the mean teacher, and not the trainer.
        one_by_one: Whether its offline pass takes single images, and not several at once.
        weight_decay: Weight decay in its optimiser; None for the value of the settings.
    """

    labels_offline: bool = False
    whole_images: bool = False
    keeps_last_labels: bool = False
    moves_teacher: bool = False
    one_by_one: bool = False
    weight_decay: float | None = None

    def __init__(self, given: Given, **own: Any) -> None:
        self.given = given

    @classmethod
    def rounds_of(cls, own: Mapping[str, Any]) -> int:
        """Number of rounds of equal length, each of which begins with `begin_round`.

        It is the setting `rounds` of the objective, and 1 for an objective without that setting.

        Args:
            own: Its settings by name, without the objective's name in front.
        """
        return int(own.get("rounds", 1))

    def losses(self, batch: TargetBatch, iteration: int) -> Iterable[Tensor]:
        """Scalars with gradient whose sum is the loss of an iteration, computed one by one.

        Each one passes backward before the next is computed. A batch without any label gives a loss
        of 0 whose gradient is 0, never nan.
        """
        raise NotImplementedError

    def measured(self) -> Mapping[str, Tensor | float]:
        """Values of the last iteration for the record's curve, named in `CurvePoint`."""
        return {}

    def after_step(self, iteration: int) -> None:
        """Called after the steps of optimiser and teacher, to move averages or restore weights."""

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Called before a round, counted from 1: an offline pass over the target images.

        Args:
            number: Number of the round.
            images: Target images, each of which may be read several times.
            labels: Labels of the round, all 255 at first; None without `labels_offline`. Labels of
                an interrupted pass are in it already; `labels.done` and `labels.kept` say where
                that pass stopped.
        """

    def resume_round(self, images: TargetImages, labels: LabelStore) -> None:
        """Called where a training resumes within a round that has labels.

        Args:
            images: Target images.
            labels: Complete labels of the round.
        """

    def label_batch(self, images: Tensor) -> Tensor | None:
        """All that an offline pass computes of images (N, 3, H, W) at once; None without a pass.

        The estimate of memory calls it with images without contents; nothing reads the result.
        """
        return None

    def first_rounds(self) -> tuple[int, ...]:
        """Numbers of the first round of each kind, if steps of some rounds are of another kind."""
        return (1,)

    def enter_round(self, number: int) -> None:
        """Called where the steps of a round follow; rounds are counted from 1."""

    def finish(self, images: Iterator[Tensor]) -> bool:
        """Called after the last iteration, before the evaluation.

        Args:
            images: Batches of whole target images in [0, 1], (N, 3, H, W).

        Returns:
            Whether it changed a network.
        """
        return False

    def networks(self) -> dict[str, nn.Module]:
        """Its own networks beside student and teacher, by name; saved and counted as memory."""
        return {}

    def parameters(self) -> list[dict[str, Any]]:
        """Its own groups of trained parameters for the student's optimiser, as torch takes them."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What changes beside the networks: thresholds, priors, states of generators."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""


def in_parts(given: Given, images: Tensor, loss: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """A mean over pixels, one equal part of the batch after another.

    Args:
        given: Student and number of parts.
        images: Input of the student, (N, 3, H, W).
        loss: Function from logits (n, C, H, W) to the mean over their pixels.
    """
    for part in images.chunk(given.parts):
        yield loss(given.predict(part)) * (len(part) / len(images))


def in_labelled_parts(
    given: Given, images: Tensor, labels: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """The student's input and its labels, one equal part of the batch after another.

    Args:
        given: Photometric noise and number of parts.
        images: Clean crops, (N, 3, H, W); the noise is drawn once for the whole batch.
        labels: Their labels, (N, H, W).
    """
    noisy = given.augment(images)
    return zip(noisy.chunk(given.parts), labels.chunk(given.parts), strict=True)
