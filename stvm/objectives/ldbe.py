"""LDBE: LD, then training on mixed images with labels of a moving average.

The first rounds are those of LD. In the last rounds a moving average of the student labels the
clean crops. A pixel with a label of the offline pass takes that label instead, with confidence 1.
Half of the classes of each image are pasted onto the next image of the batch, with their labels.
Loss there: cross-entropy of each pixel, times the share of the pixels of its mixed image whose
confidence is 0.97 or more; mean over the pixels whose cross-entropy is not exactly 0.
Moving average: parameters alone, with decay min(1 - 1/(s + 1), 0.99) after step s = 0, 1, ...; it
labels with the statistics of the batch, and its running statistics follow. Dropout is off in it.
Source, trained, labels: as LD. The release runs the two stages one after the other, and each begins
with the first share: q = 0.10 + 0.05 (r - 1) in the r-th mixed round.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.method.mean_teacher import Labeller, frozen_copy
from stvm.method.moving_average import move_towards
from stvm.objectives.kept_cross_entropy import kept_pixels
from stvm.objectives.label_store import LabelStore
from stvm.objectives.ld import NegativeLearning
from stvm.objectives.objective import Given, TargetBatch, TargetImages


def decay_of(step: int, largest: float) -> float:
    """Weight of the moving average in its update after a step, counted from 0."""
    return min(1 - 1 / (step + 1), largest)


def half_of_classes(labels: Tensor, order: list[int]) -> Tensor:
    """Mask of the pixels of half of the classes of an image, (H, W).

    Args:
        labels: Classes, (H, W).
        order: All classes in a random order; the first half of those in the image is taken.
    """
    there = torch.stack([(labels == c).any() for c in order])
    number = there.cumsum(0)
    taken = there & (number <= number[-1] // 2)
    chosen = torch.zeros_like(taken).scatter(0, torch.tensor(order, device=labels.device), taken)
    return chosen[labels]


def mix(masks: Tensor, values: Tensor) -> Tensor:
    """Each image's values where its mask is true, the next image's elsewhere; (N, ...)."""
    return torch.where(masks, values, values.roll(-1, dims=0))


def mixed_loss(logits: Tensor, labels: Tensor, confidence: Tensor, least: float) -> Tensor:
    """Cross-entropy weighted by the share of confident pixels of each image.

    Args:
        logits: Logits, (N, C, H, W).
        labels: Classes, (N, H, W).
        confidence: Their confidence, (N, H, W).
        least: Least confidence of a confident pixel.
    """
    losses = F.cross_entropy(logits, labels, reduction="none")
    weights = (confidence >= least).flatten(1).float().mean(dim=1)
    counted = losses > 0
    return (weights[:, None, None] * losses * counted).sum() / counted.sum().clamp(min=1)


class MixedByMovingAverage(NegativeLearning):
    """LD followed by rounds on mixed images.

    Args:
        given: Networks and passes to work with.
        mixed_rounds: Number of rounds on mixed images, after those of LD.
        decay: Largest weight of the moving average in its update.
        confidence: Least confidence of a pixel that counts for its image's weight.
        ld: Settings of `NegativeLearning`.
    """

    def __init__(
        self, given: Given, *, mixed_rounds: int, decay: float, confidence: float, **ld: Any
    ) -> None:
        super().__init__(given, **ld)
        self.decay = decay
        self.confidence = confidence
        self.number = 1
        self.steps = 0
        self.average = given.forward_mode.prepare(frozen_copy(given.student))
        self.average_label = Labeller(self.average, "batch", True, given.forward_mode)

    @classmethod
    def rounds_of(cls, own: Mapping[str, Any]) -> int:
        """Number of all rounds, each with an offline pass before it."""
        return int(own["rounds"]) + int(own["mixed_rounds"])

    @property
    def mixes(self) -> bool:
        """Whether the round is one on mixed images."""
        return self.number > self.rounds

    def number_in_stage(self, number: int) -> int:
        """The mixed rounds are counted from 1 again."""
        return number - self.rounds if number > self.rounds else number

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images; the moving average starts with the first mixed round."""
        super().begin_round(number, images, labels)
        self.enter_round(number)
        if number == self.rounds + 1:
            self.average.load_state_dict(self.given.student.state_dict())

    def first_rounds(self) -> tuple[int, ...]:
        """The first round of LD, and the first on mixed images."""
        return (1, self.rounds + 1)

    def enter_round(self, number: int) -> None:
        """Mixes images from now on, or does not."""
        self.number = number

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss of LD, or that on mixed images."""
        if not self.mixes:
            yield from super().losses(batch, iteration)
            return
        assert batch.labels is not None
        kept = kept_pixels(batch.labels)
        self.kept = kept.float().mean()
        own, sure = self.average_label(batch.images)[:2]
        labels = torch.where(kept, batch.labels.long(), own)
        sure = sure.masked_fill(kept, 1.0)
        orders = self.drawn_orders(iteration, len(labels))
        masks = torch.stack([half_of_classes(*one) for one in zip(labels, orders, strict=True)])
        images = self.given.augment(mix(masks[:, None], batch.images))
        logits = self.given.predict(images)
        yield mixed_loss(logits, mix(masks, labels), mix(masks, sure), self.confidence)

    def drawn_orders(self, iteration: int, images: int) -> list[list[int]]:
        """All classes in a random order for each image, which the seed determines."""
        draws = np.random.default_rng((self.given.seed, 5, iteration))
        return [draws.permutation(self.given.num_classes).tolist() for _ in range(images)]

    def after_step(self, iteration: int) -> None:
        """Moves the average towards the student."""
        if not self.mixes:
            return
        move_towards(self.average, self.given.student, 1 - decay_of(self.steps, self.decay))
        self.steps += 1

    def networks(self) -> dict[str, nn.Module]:
        """The moving average."""
        return {"average": self.average}

    def state_dict(self) -> dict[str, Any]:
        """The round, and the steps of the moving average."""
        return {"number": self.number, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.number, self.steps = int(state["number"]), int(state["steps"])
