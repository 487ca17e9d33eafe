"""The loss of labelled pixels and the weights of classes by hand."""

import math

import numpy as np
import pytest
import torch

from stvm.data.classes import IGNORE_INDEX
from stvm.data.streets.street_images import LabelledArrays
from stvm.source_model import labelled_loss
from stvm.source_model.labelled_loss import class_weights, mean_cross_entropy

WEIGHTS = torch.tensor([0.5, 2.0, 0.25])
LOGITS = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def by_hand(labels: torch.Tensor, weights: torch.Tensor = WEIGHTS) -> float:
    """One pixel at a time."""
    losses, total = 0.0, 0.0
    for n, y, x in np.ndindex(*labels.shape):
        if (label := int(labels[n, y, x])) != IGNORE_INDEX:
            shares = [math.exp(float(value)) for value in LOGITS[n, :, y, x]]
            losses -= float(weights[label]) * math.log(shares[label] / sum(shares))
            total += float(weights[label])
    return losses / total if total else 0.0


def labelled(*given: tuple[int, int, int, int]) -> torch.Tensor:
    """Labels of which some pixels (image, row, column, class) are known."""
    labels = torch.full((2, 2, 2), IGNORE_INDEX)
    for n, y, x, label in given:
        labels[n, y, x] = label
    return labels


SOME = [
    labelled((0, 0, 0, 1), (0, 1, 1, 0), (1, 0, 1, 2), (1, 1, 0, 2)),
    labelled((1, 0, 1, 2)),
    labelled(),
]
"""Labels in both images, one pixel of a class that weighs little, and none."""


@pytest.mark.parametrize("labels", SOME)
def test_the_losses_of_the_parts_of_a_batch_add_up_to_its_own(labels: torch.Tensor) -> None:
    parts = [
        mean_cross_entropy(LOGITS[n : n + 1], labels[n : n + 1], WEIGHTS, labels) for n in (0, 1)
    ]
    assert float(sum(parts)) == pytest.approx(by_hand(labels), abs=1e-6)
    assert float(mean_cross_entropy(LOGITS, labels, WEIGHTS)) == pytest.approx(
        by_hand(labels), abs=1e-6
    )


@pytest.mark.parametrize("repeat", [True, False])
@pytest.mark.parametrize("labels", SOME)
def test_without_weights_each_labelled_pixel_counts_alike(
    labels: torch.Tensor, repeat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_loss, "must_repeat", lambda device: repeat)
    expected = pytest.approx(by_hand(labels, torch.ones(3)), abs=1e-6)
    assert float(mean_cross_entropy(LOGITS, labels, None)) == expected
    parts = [mean_cross_entropy(LOGITS[n : n + 1], labels[n : n + 1], None, labels) for n in (0, 1)]
    assert float(sum(parts)) == expected


@pytest.mark.parametrize("labels", SOME)
def test_the_loss_that_a_gpu_can_repeat_is_the_same(
    labels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(labelled_loss, "must_repeat", lambda device: not asked.append(device))
    found = float(mean_cross_entropy(LOGITS, labels, WEIGHTS))
    assert found == pytest.approx(by_hand(labels), abs=1e-6) and asked


def test_weights_of_classes_are_median_frequency_balancing_by_hand() -> None:
    """One pixel of a class in an image counts, and one image has weights too."""
    labels = np.array([[[0, 0], [0, 1]], [[0, 0], [2, 2]]], np.uint8)
    pixels = np.zeros((2, 2, 2, 3), np.uint8)
    # Shares of the images that hold them: 5 of 8, 1 of 4, 2 of 4; the median is a half.
    expected = [0.5 / 0.625, 0.5 / 0.25, 1.0, 1.0]
    found = class_weights(LabelledArrays(pixels, labels), 4, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = class_weights(LabelledArrays(pixels, labels), 4, 0.5)
    np.testing.assert_allclose(found, np.sqrt(expected), rtol=1e-6)
    # 3 of 4 and 1 of 4; of two torch takes the lower as the median.
    found = class_weights(LabelledArrays(pixels[:1], labels[:1]), 3, 1.0)
    np.testing.assert_allclose(found, [1 / 3, 1.0, 1.0], rtol=1e-6)
    # Of images of one pixel each class fills those that hold it.
    dots = LabelledArrays(np.zeros((3, 1, 1, 3), np.uint8), np.array([[[0]], [[0]], [[1]]], "u1"))
    np.testing.assert_allclose(class_weights(dots, 3, 1.0), [1.0, 1.0, 1.0], rtol=1e-6)
