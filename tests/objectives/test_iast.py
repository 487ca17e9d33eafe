"""IAST: thresholds that follow the images, and the two regularisers."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stvm.objectives.iast import InstanceAdaptive, InstanceThresholds, moved_threshold


def test_a_threshold_moves_as_computed_by_hand() -> None:
    values = np.array([0.95, 0.9, 0.8, 0.7, 0.6])
    # {.95, .9, .9, .8, .7, .6} at percentile 100 (1 - .2 x .9**8) = 91.39: between .9 and .95.
    place = (1 - 0.2 * 0.9**8) * 5
    new = 0.9 + (place - 4) * 0.05
    assert new == pytest.approx(0.928477, abs=1e-6)
    found = moved_threshold(values, 0.9, 0.2, 8.0, 0.9)
    assert found == pytest.approx(0.902848, abs=1e-6)
    assert found == pytest.approx(0.9 * 0.9 + 0.1 * new)


def test_a_class_without_pixels_keeps_its_threshold_and_one_at_most_999() -> None:
    assert moved_threshold(np.array([]), 0.9, 0.2, 8.0, 0.9) == pytest.approx(0.9)
    assert moved_threshold(np.ones(9), 1.0, 0.2, 8.0, 0.9) == 0.999


def test_the_moved_threshold_decides_and_images_go_in_order() -> None:
    sure = torch.tensor([0.95, 0.9025, 0.9, 0.8, 0.7, 0.6])
    shares = torch.stack([sure, 1 - sure])[None, :, None]
    thresholds = InstanceThresholds(2, 0.2, 8.0, 0.9)
    labels = thresholds.labels(shares)
    first = thresholds.values.copy()
    assert 0.9025 < first[0] < 0.95 and first[1] == pytest.approx(0.9)
    assert labels.tolist() == [[[0, 255, 255, 255, 255, 255]]]
    # Twin of a second image: it begins at the thresholds that the first one left.
    thresholds.labels(shares.flip(1))
    assert thresholds.values[0] == pytest.approx(first[0])
    assert thresholds.values[1] == pytest.approx(first[0])


def objective(entropy: float, divergence: float) -> Any:
    given: Any = SimpleNamespace(num_classes=4)
    return InstanceAdaptive(
        given,
        rounds=3,
        share=0.2,
        share_step=0.05,
        gamma=8.0,
        momentum=0.9,
        entropy=entropy,
        divergence=divergence,
    )


def test_the_regularisers_have_the_classes_in_their_divisors() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 2, 3, generator=draws).double()
    labels = torch.tensor([[[0, 255, 2], [255, 255, 3]]], dtype=torch.uint8)
    own = unsure = smooth = 0.0
    for y in range(2):
        for x in range(3):
            p = [math.exp(v) for v in logits[0, :, y, x].tolist()]
            p = [v / sum(p) for v in p]
            if labels[0, y, x] == 255:
                unsure -= sum(v * math.log(v) for v in p) / (3 * 4)
            else:
                own -= math.log(p[int(labels[0, y, x])]) / 3
                smooth -= sum(math.log(v) for v in p) / 4 / (3 * 4)
    loss = objective(3.0, 0.1).loss(logits, labels, labels)
    assert loss.item() == pytest.approx(own + 3.0 * unsure + 0.1 * smooth, rel=1e-9)


@pytest.mark.parametrize("label", [1, 255])
def test_no_pixel_on_one_side_is_no_nan(label: int) -> None:
    logits = torch.zeros(1, 4, 2, 2, requires_grad=True)
    labels = torch.full((1, 2, 2), label, dtype=torch.uint8)
    loss = objective(3.0, 0.1).loss(logits, labels, labels)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_a_pixel_at_the_very_threshold_is_kept() -> None:
    thresholds = InstanceThresholds(2, 0.2, 8.0, 1.0)
    # Exact in binary, and with the momentum 1 they stay.
    thresholds.values[:] = 0.75
    shares = torch.tensor([[0.75, 0.25], [0.74, 0.26], [0.25, 0.75]]).T[None, :, None]
    assert thresholds.labels(shares).tolist() == [[[0, 255, 1]]]
