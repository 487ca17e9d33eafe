"""When a teacher moves: as soon as its student got better on the batches since the last move.

The student is scored on each batch before it is trained on it, and now and then on all those
batches again. The score is the soft neighbourhood density of some of the batch's positions: how
many others a position is close to. It needs no label.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.objectives.objective import TargetImages, WholeImages

TEMPERATURE = 0.05
"""Divisor of the cosine similarities."""
LEAST = 1e-5
"""Number within the logarithm."""
POSITIONS = 100
"""Positions of a batch that are compared with each other, of the map before it is enlarged."""
MAJORITY = 0.5
"""Share of the batches, more than which must have a better score."""


def neighbourhood_score(shares: Tensor) -> Tensor:
    """Mean entropy of the softmax of each position's similarities to all, itself among them.

    Args:
        shares: Softmax probabilities of some positions, (P, C).
    """
    own = F.normalize(shares, dim=1)
    near = (own @ own.T / TEMPERATURE).softmax(dim=1)
    return -(near * (near + LEAST).log()).sum(1).mean()


@dataclass(frozen=True)
class SeenBatch:
    """A batch of whole images, and how the student did on it.

    Attributes:
        iteration: Iteration of the batch; it determines the compared positions.
        images: Indices of the images.
        pixels: The images, (N, 3, H, W) uint8 on the CPU; None to read them again.
        score: The student's score before its step on the batch.
    """

    iteration: int
    images: tuple[int, ...]
    pixels: Tensor | None
    score: Tensor


class StudentScores:
    """The student's scores on the batches since the teacher's last move.

    Args:
        scores_of: Pass of the student, images (N, 3, H, W) in [0, 1] -> logits (N, C, h, w).
        seed: Seed of the trial.
        first: Number of batches at which the student is scored again.
        step: Number of batches from one such score to the next.
        longest: Number of batches above which the teacher moves whatever the scores say.

    Attributes:
        seen: Batches since the last move.
    """

    def __init__(
        self,
        scores_of: Callable[[Tensor], Tensor],
        seed: int,
        *,
        first: int,
        step: int,
        longest: int,
    ) -> None:
        self.scores_of = scores_of
        self.seed = seed
        self.first, self.step, self.longest = first, step, longest
        self.seen: list[SeenBatch] = []

    def add(self, whole: WholeImages, iteration: int) -> None:
        """Scores the student, as it is before its step, on the images of a batch."""
        score = self.score(whole.images, iteration)
        found = tuple(index for index, *_ in whole.places)
        self.seen.append(SeenBatch(iteration, found, whole.pixels.cpu(), score))

    @torch.no_grad()
    def score(self, images: Tensor, iteration: int) -> Tensor:
        """Score of the student on images (N, 3, H, W), at positions that the iteration draws."""
        shares = self.scores_of(images).softmax(dim=1).permute(0, 2, 3, 1).flatten(0, 2)
        draws = np.random.default_rng((self.seed, 6, iteration))
        drawn = draws.permutation(len(shares))[:POSITIONS]
        return neighbourhood_score(shares[torch.from_numpy(drawn).to(shares.device)])

    def moves(self, images: TargetImages | None) -> bool:
        """Whether the teacher moves now; the batches are then forgotten.

        Args:
            images: Target images, from which those of a resumed training are read again.
        """
        count = len(self.seen)
        if count < self.first or (count - self.first) % self.step:
            return False
        better = [float(self.score_again(one, images)) > float(one.score) for one in self.seen]
        if sum(better) <= MAJORITY * count and count <= self.longest:
            return False
        self.seen = []
        return True

    def score_again(self, batch: SeenBatch, images: TargetImages | None) -> Tensor:
        """Score of the present student on a batch, at the same positions."""
        if batch.pixels is not None:
            pixels = batch.pixels.to(batch.score.device).float() / 255
        else:
            assert images is not None, "a resumed training reads its images again"
            pixels = torch.cat([images.image(index) for index in batch.images]).contiguous()
        return self.score(pixels, batch.iteration)

    def state_dict(self) -> dict[str, Any]:
        """Iterations, images and scores; the images themselves are read again."""
        return {
            "iterations": [one.iteration for one in self.seen],
            "images": [list(one.images) for one in self.seen],
            "scores": [one.score for one in self.seen],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        rows = zip(state["iterations"], state["images"], state["scores"], strict=True)
        self.seen = [SeenBatch(number, tuple(own), None, score) for number, own, score in rows]
