"""Regions that DT-ST banks and pastes, counted by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from stvm.objectives.label_store import LabelStore
from stvm.objectives.objective import TargetImages
from stvm.objectives.region_bank import RegionBank, free_place
from tests.objectives.test_dtst import whole_batch_at
from tests.objectives.test_offline_labels import CPU
from tests.objectives.test_offline_steps import C, built

SURE, UNSURE = 12, 2
"""Logits of the predicted class; the first gives a confidence above 0.9999."""
FIRST = [(0, SURE, 24), (0, UNSURE, 24), (1, SURE, 8), (1, UNSURE, 8)]
SECOND = [(0, SURE, 19), (0, UNSURE, 18), (2, SURE, 7), (2, UNSURE, 7), (3, SURE, 13)]
"""Pixels of two images of 8x8: class, logit, and number."""


class Painted:
    """Images whose red is the class that is predicted, and whose green is its logit."""

    def __len__(self) -> int:
        return 2

    def image(self, index: int) -> NDArray[np.uint8]:
        rows = [(c, level, 0) for c, level, count in (FIRST, SECOND)[index] for _ in range(count)]
        return np.array(rows, np.uint8).reshape(8, 8, 3)


def logits_of(images: Tensor) -> tuple[Tensor, Tensor]:
    red, green, _ = (255 * images).round().unbind(1)
    return images, green.unsqueeze(1) * F.one_hot(red.long(), C).movedim(-1, 1)


def banked(folder: Path, tell: Any = lambda done: None, **changes: Any) -> tuple[Any, LabelStore]:
    """The objective and its labels after the first pass over the painted images."""
    made = built("dtst", **changes)
    label: Any = SimpleNamespace(logits=logits_of)
    made.objective.given = replace(made.objective.given, label=label)
    store = LabelStore(folder / "round-1", 2, (8, 8), "me")
    made.objective.begin_round(1, TargetImages(Painted(), CPU, tell), store)
    return made.objective, store


def test_what_is_banked_and_which_class_is_rarest(tmp_path: Path) -> None:
    """A class needs 8 banked pixels in an image. Class 3 is rarest, though class 1 has less sure.

    The sure half of class 0 are its 43 pixels with the larger logit, of 85; class 3 has 13 alike.
    """
    objective, store = banked(tmp_path, dtst_pixels=8, dtst_classes=0.2)
    assert objective.regions.tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 1, 0]]
    assert objective.pasted_classes.tolist() == [3]
    for index, drawn in enumerate((FIRST, SECOND)):
        hand = [c + 128 * (level == UNSURE) for c, level, count in drawn for _ in range(count)]
        assert store.read(index).flatten().tolist() == hand
    # Of class 2 seven pixels are sure.
    objective, _ = banked(tmp_path / "more", dtst_pixels=7, dtst_classes=0.4)
    assert objective.regions[1].tolist() == [1, 0, 1, 1, 0]
    assert objective.pasted_classes.tolist() == [2, 3]


def test_images_that_a_step_reads_are_no_progress_of_a_pass(tmp_path: Path) -> None:
    told: list[int] = []
    objective, _ = banked(tmp_path, told.append, dtst_pixels=8, dtst_scale=1.0)
    assert told == [0, 1, 0, 1]
    _, labels = objective.paste(torch.zeros(2, 3, 32, 32), 1)
    assert (labels != 255).any() and len(told) == 4


def test_a_region_is_pasted_as_it_is_onto_a_noisy_crop() -> None:
    made = built("dtst")
    objective: Any = made.objective
    objective.given = replace(objective.given, augment=lambda images: 1 - images)

    class Bank:
        def paste(self, image: Tensor, chances: Any, draws: Any) -> tuple[Tensor, Tensor]:
            labels = torch.full((32, 32), 255)
            labels[:4] = 3
            return image.masked_fill(labels == 3, 0.125), labels

    objective.bank = Bank()
    seen: list[Tensor] = []
    made.student.features.register_forward_pre_hook(
        lambda _, given: seen.append((given[0] * made.student.std + made.student.mean).detach())
    )
    batch = whole_batch_at(1)
    made.step(batch, 1)
    torch.testing.assert_close(seen[-1][:, :, :4], torch.full((2, 3, 4, 32), 0.125))
    torch.testing.assert_close(seen[-1][:, :, 4:], 1 - batch.images[:, :, 4:], rtol=0, atol=1e-5)


def test_a_student_is_scored_in_eval_mode() -> None:
    """A network may have dropout, whose draws are no progress of the student."""
    made = built("dtst")
    modes: list[bool] = []
    made.student.features.register_forward_pre_hook(
        lambda network, _: modes.append(network.training or made.student.classifier.training)
    )
    made.step(whole_batch_at(1), 1)
    assert modes == [False, True]


def test_a_class_with_just_its_equal_share_is_unlikely() -> None:
    """All classes of a teacher that knows nothing; no pixel has a label."""
    made = built("dtst")
    objective: Any = made.objective
    zeros = SimpleNamespace(logits=lambda x: (x, torch.zeros(len(x), C, *x.shape[2:])))
    objective.given = replace(objective.given, label=zeros)
    labels, unlikely = objective.targets(whole_batch_at(1), 1)
    assert unlikely.shape == (2, C, 32, 32) and unlikely.all() and (labels == 255).all()


def bank_of(mask: NDArray[Any], scale: float = 1.0) -> RegionBank:
    """Pastes class 1 from one image whose red counts the rows, and all else the columns."""
    labels = torch.from_numpy(np.where(mask, 1, 0).astype(np.uint8))
    store: Any = SimpleNamespace(read=lambda index: labels)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    image = np.stack([rows, columns, columns], 2).astype(np.uint8)
    images: Any = SimpleNamespace(image=lambda index: image)
    there = np.array([[False, True]])
    return RegionBank(TargetImages(images, CPU), store, there, np.array([1]), least=10, scale=scale)


def squares(*sides: int) -> NDArray[np.bool_]:
    """Squares one below the other, a row apart."""
    mask = np.zeros((sum(sides) + len(sides), max(sides)), np.bool_)
    top = 0
    for side in sides:
        mask[top : top + side, :side] = True
        top += side + 1
    return mask


def test_parts_by_hand() -> None:
    """A part needs two fifths of 10 pixels; what else lies in its box does not belong to it."""
    corner = np.zeros((6, 6), np.bool_)
    corner[:, 0] = corner[5] = True
    inside = corner.copy()
    inside[:3, 2:] = True
    found = [(part == 1).tolist() for *_, part in bank_of(inside).parts(inside.astype(np.uint8))]
    assert found == [corner.tolist(), np.ones((3, 4), bool).tolist()]
    few = np.zeros((3, 9), np.bool_)
    few[0, :3] = few[2, :4] = True
    parts = bank_of(few).parts(few.astype(np.uint8))
    assert [part.tolist() for *_, part in parts] == [[[1, 1, 1, 1]]]


def test_a_part_that_finds_no_place_leaves_room_to_the_next() -> None:
    """A crop of 6x6 has one place for a square of 5x5, and none for one of 6x6."""
    for sides, first_row in (((6, 5), 7), ((5, 5), 0)):
        image, labels = bank_of(squares(*sides)).paste(
            torch.full((3, 6, 6), 1.0), np.ones(2), np.random.default_rng(0)
        )
        assert (labels[:5, :5] == 1).all() and int((labels == 1).sum()) == 25
        rows = (255 * image[0, :5, 0]).round().int().tolist()
        assert rows == list(range(first_row, first_row + 5))


def test_enlarged_pixels_are_those_of_the_image_and_none_between() -> None:
    """Row i of n is row floor(5 i / n) of the square's five."""
    sizes = set()
    for seed in range(8):
        image, labels = bank_of(squares(5), scale=2.5).paste(
            torch.full((3, 32, 32), 1.0), np.ones(2), np.random.default_rng(seed)
        )
        rows, columns = (labels == 1).nonzero().unbind(1)
        top, left, size = int(rows.min()), int(columns.min()), int(rows.max() - rows.min()) + 1
        sizes.add(size)
        hand = [5 * i // size for i in range(size)]
        found = (255 * image[:, top : top + size, left : left + size]).round().int()
        assert found[0, :, 0].tolist() == hand == found[1, 0].tolist()
    assert len(sizes) > 2


def test_a_place_is_looked_for_often_enough() -> None:
    """One place in 20 is free: 99 draws miss it with a chance of 0.6 %, one draw with 95 %."""
    filled = np.ones((21, 2), np.bool_)
    filled[[7, 8], [0, 1]] = False
    found = [free_place(filled, (1, 1), np.random.default_rng(seed)) for seed in range(40)]
    assert found.count((7, 0)) >= 38 and set(found) <= {(7, 0), None}
