"""DT-ST (Zhao et al. 2023): online self-training with a dynamic teacher, and pasted rare classes.

Loss: mean over all pixels of the cross-entropy to the labels, where a pixel without label counts as
0, + 0.5 times the mean of -ln(1 - sigmoid(z_c)) over all pairs of a pixel and a class c with
teacher's share p_c <= 1/C.
Labels: in each batch by the teacher, in eval mode, on the whole clean images; the crops are cut
from its scores. For each crop and class t_c = max(0.20, 0.80 top_c (1 - exp(-chi_c / 0.001)));
top_c is the largest confidence of the crop's pixels that are predicted as c. A pixel is kept if its
confidence is above t_c. chi is the mean share of each class on whole images, averaged with 0.9;
a class that is seen for the first time takes its share as it is.
Teacher: moving average 0.99 of the parameters, the reported network. It moves only if the student
got better: see `dynamic_teacher`. The student is scored in eval mode on whole images, without
labels, before its step on each batch. From 9 batches on, after every third one, it is scored again
on all of them. If more than half of the scores rose, or above 30 batches, the teacher moves once.
Pasting: into each crop the region of one class from one target image, after the noise. The chance
of a class is proportional to 1 - chi_c; images with the class are equally likely. Its connected
parts are enlarged by 1 to 2.5 and pasted at random places. Pasted pixels carry the bank's label.
Bank: before each round the teacher labels all target images, in eval mode. In the first round the
more confident half of the pixels of each class is banked; later a class is banked on the images on
which its labels agree best with those of the round before.
Source: github.com/DZhaoXd/DT-ST (`train_TCR_DTU.py`, `core/datasets/cityscapes_b.py`).
Defaults there: SGD 2.5e-4 without Nesterov, heads x10, poly over 62,500 iterations of which 20,000
are run, batch 4, crops of 1024x512 from 1536x768 enlarged by 0.75 to 1.75. Colour jitter of 0.5 is
brought along; its hue is 0.25 here and 0.2 there.
Published: 56.0 in its log, from a domain-generalised source model; about 52 from a plain one.
Trained: all but batch norm, which stays as it is at the start (`student_bn=frozen`).

Not built, since it belongs to Cityscapes or to the order of the images, which is the trial's for
all objectives: the drawing of images by class, the eight classes to paste that are named by hand
(here the rarest ones in the labels, `dtst_classes`), and the classes that are pasted together
(rider with bicycle or motorcycle, pole with light or sign). As in the release, the unlikely classes
of a pasted pixel are those of the picture beneath it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stvm.data.classes import IGNORE_INDEX
from stvm.errors import StvmError
from stvm.method.moving_average import move_towards
from stvm.networks import preserve_modes
from stvm.objectives.dynamic_teacher import StudentScores
from stvm.objectives.kept_cross_entropy import kept_pixels
from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import Given, Objective, TargetBatch, TargetImages
from stvm.objectives.region_bank import RegionBank, rare_classes
from stvm.objectives.region_survey import UNSURE, RegionSurvey, labels_by_bound, shares_by

MEMORY = 0.9
"""Weight of the old class shares chi in a batch."""
SEEN = 1e-8
"""Mean share from which on a class counts as seen."""


def moved_shares(chi: Tensor, shares: Tensor, first: float) -> Tensor:
    """Class shares after a batch, (C,).

    Args:
        chi: Class shares before, (C,); `first` for a class that was never seen.
        shares: Softmax probabilities of whole images, (N, C, H, W).
        first: Value of a class that was never seen.
    """
    mean = shares.mean((0, 2, 3))
    new = (mean > SEEN) & (chi == first)
    return MEMORY * torch.where(new, mean, chi) + (1 - MEMORY) * mean


def class_bounds(tops: Tensor, chi: Tensor, *, most: float, least: float, rare: float) -> Tensor:
    """Thresholds t_c of the confidence, (N, C).

    Args:
        tops: Largest confidence of the pixels that are predicted as each class, (N, C).
        chi: Class shares, (C,).
        most: Share of the largest confidence for a frequent class.
        least: Least threshold.
        rare: Share of the pixels at which a class is rare.
    """
    return (most * tops * (1 - (-chi / rare).exp())).clamp(min=least)


def kept_labels(shares: Tensor, chi: Tensor, **bounds: float) -> Tensor:
    """Predicted classes where the confidence is above the threshold, else 255; (N, H, W).

    Args:
        shares: Teacher's softmax probabilities on crops, (N, C, H, W).
        chi: Class shares, (C,).
        bounds: Constants of `class_bounds`.
    """
    confidence, labels = shares.max(dim=1)
    classes = torch.arange(shares.shape[1], device=shares.device).view(1, -1, 1, 1)
    tops = (shares * (labels.unsqueeze(1) == classes)).amax((2, 3))
    limits = class_bounds(tops, chi, **bounds)
    limit = torch.stack([one[own] for one, own in zip(limits, labels, strict=True)])
    return labels.masked_fill(confidence <= limit, IGNORE_INDEX)


class DynamicTeacher(Objective):
    """Self-training with a dynamic teacher.

    Args:
        given: Networks and passes; the labelling network is the teacher.
        most: Share of the largest confidence of a frequent class that a label needs.
        least: Least confidence of a label.
        rare: Share of the pixels at which a class is rare.
        negative: Weight of the loss on unlikely classes.
        momentum: Weight of the student in an update of the teacher.
        first: Number of batches at which the student is scored again.
        step: Number of batches from one such score to the next.
        longest: Number of batches above which the teacher moves whatever the scores say.
        rounds: Number of banks.
        share: Share of each class that is banked.
        classes: Share of the classes that are pasted.
        pixels: Least pixels of a class in an image from which it is pasted.
        scale: Largest scale of a pasted part.
    """

    labels_offline = True
    whole_images = True
    keeps_last_labels = True
    moves_teacher = True

    def __init__(
        self,
        given: Given,
        *,
        most: float,
        least: float,
        rare: float,
        negative: float,
        momentum: float,
        first: int,
        step: int,
        longest: int,
        rounds: int,
        share: float,
        classes: float,
        pixels: int,
        scale: float,
    ) -> None:
        super().__init__(given)
        if given.num_classes > UNSURE - 1:
            raise StvmError(
                f"procedure=dtst keeps its labels of {given.num_classes} classes in one byte, in "
                f"which {UNSURE - 1} have room: choose another procedure, or merge classes"
            )
        self.bounds = {"most": most, "least": least, "rare": rare}
        self.negative = negative
        self.momentum = momentum
        self.share, self.classes, self.pixels, self.scale = share, classes, pixels, scale
        self.chi = torch.full((given.num_classes,), rare, device=given.device)
        self._logits = given.forward_mode.wrap(given.student.logits)
        self.scores = StudentScores(
            self.student_scores, given.seed, first=first, step=step, longest=longest
        )
        self.images: TargetImages | None = None
        self.regions: NDArray[np.bool_] = np.zeros((0, given.num_classes), np.bool_)
        self.pasted_classes: NDArray[np.int64] = np.zeros(0, np.int64)
        self.bank: RegionBank | None = None
        self.values: dict[str, Tensor | float] = {}

    def student_scores(self, images: Tensor) -> Tensor:
        """Logits (N, C, h, w) of the student in eval mode, not enlarged."""
        student = self.given.student
        with preserve_modes(student):
            student.eval()
            return self._logits(images)

    def losses(self, batch: TargetBatch, iteration: int) -> Iterator[Tensor]:
        """The loss, one part of the batch after another."""
        images, pasted = self.paste(self.given.augment(batch.images), iteration)
        found, unlikely = self.targets(batch, iteration)
        labels = torch.where(kept_pixels(pasted), pasted, found)
        self.values = {
            "kept": kept_pixels(labels).float().mean(),
            "pasted": kept_pixels(pasted).float().mean(),
        }
        pairs = unlikely.sum().clamp(min=1)
        parts = (whole.chunk(self.given.parts) for whole in (images, labels, unlikely))
        for part, wanted, off in zip(*parts, strict=True):
            logits = self.given.predict(part)
            own = F.cross_entropy(logits, wanted, ignore_index=IGNORE_INDEX, reduction="none")
            against = (F.softplus(logits) * off).sum() / pairs
            yield own.sum() / labels.numel() + self.negative * against

    @torch.no_grad()
    def targets(self, batch: TargetBatch, iteration: int) -> tuple[Tensor, Tensor]:
        """Labels (N, h, w) of a batch by the teacher, and its unlikely classes (N, C, h, w).

        The student is scored on the batch, and the class shares follow it.
        """
        assert batch.whole is not None
        self.scores.add(batch.whole, iteration)
        logits = self.given.label.logits(batch.whole.images)[1]
        self.chi = moved_shares(self.chi, logits.softmax(dim=1), self.bounds["rare"])
        size = (batch.images.shape[-2], batch.images.shape[-1])
        shares = batch.whole.cut(logits, size).softmax(dim=1)
        return kept_labels(shares, self.chi, **self.bounds), shares <= 1 / self.given.num_classes

    def paste(self, images: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
        """Images (N, 3, h, w) with pasted regions, and their labels (N, h, w), 255 elsewhere."""
        if self.bank is None:
            return images, torch.full_like(images[:, 0], IGNORE_INDEX, dtype=torch.long)
        draws = np.random.default_rng((self.given.seed, 7, iteration))
        chances = 1 - self.chi.double().cpu().numpy()
        found = [self.bank.paste(image, chances, draws) for image in images]
        return torch.stack([one for one, _ in found]), torch.stack([one for _, one in found])

    def after_step(self, iteration: int) -> None:
        """Moves the teacher, if the student got better."""
        moves = self.scores.moves(self.images)
        self.values["teacher_moves"] = float(moves)
        if moves:
            move_towards(self.given.label.network, self.given.student, self.momentum)

    def begin_round(self, number: int, images: TargetImages, labels: LabelStore | None) -> None:
        """Labels all target images by the teacher, and banks the regions."""
        assert labels is not None
        survey = RegionSurvey(self.given, images, labels)
        kept = survey.first(self.share) if number == 1 else survey.next(number, self.share)
        self.regions = kept & (survey.sure >= self.pixels)
        self.pasted_classes = rare_classes(self.regions, survey.predicted.sum(axis=0), self.classes)
        self.resume_round(images, labels)

    def resume_round(self, images: TargetImages, labels: LabelStore) -> None:
        """Takes up images and bank of the round."""
        # Images that a step reads are no progress of a pass.
        self.images = quiet = TargetImages(images.images, images.device)
        own = (self.regions, self.pasted_classes)
        self.bank = RegionBank(quiet, labels, *own, least=self.pixels, scale=self.scale)

    def label_batch(self, images: Tensor) -> Tensor | None:
        """Labels of images (N, 3, H, W) by thresholds of 1, as in the first round."""
        return labels_by_bound(shares_by(self.given, images), images.new_ones(len(self.chi)))

    def measured(self) -> dict[str, Tensor | float]:
        """Shares of pixels with a label and of pasted pixels, and moves of the teacher: 0 or 1."""
        return self.values

    def state_dict(self) -> dict[str, Any]:
        """Class shares, the student's scores, and the table of the bank."""
        return {
            "chi": self.chi,
            "scores": self.scores.state_dict(),
            "regions": torch.from_numpy(self.regions),
            "classes": torch.from_numpy(self.pasted_classes),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.chi = state["chi"].to(self.chi)
        self.scores.load_state_dict(state["scores"])
        self.regions = state["regions"].numpy()
        self.pasted_classes = state["classes"].numpy()
