"""CBST and CRST: class thresholds, labels and losses."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.objectives.balanced_labels import balanced_labels, class_thresholds, share_of_round
from stvm.objectives.confidence_histogram import WIDTH, ConfidenceHistogram
from stvm.objectives.crst import uniform_cross_entropy
from stvm.objectives.kept_cross_entropy import kept_cross_entropy, mean_over

TEN = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4)


def histogram_of(values: tuple[float, ...], num_classes: int = 2) -> ConfidenceHistogram:
    histogram = ConfidenceHistogram(num_classes)
    histogram.add(torch.tensor(values), torch.zeros(len(values), dtype=torch.long))
    return histogram


@pytest.mark.parametrize(("share", "value"), [(0.2, 0.95), (0.5, 0.7), (0.3, 0.9)])
def test_a_threshold_has_the_rank_that_the_release_gives_it(share: float, value: float) -> None:
    thresholds = class_thresholds(histogram_of(TEN), share)
    assert value - WIDTH * (1 - value) * 1.01 <= thresholds[0] <= value
    # A class that is never predicted keeps nothing.
    assert thresholds[1] == 1


def test_a_rank_of_zero_keeps_only_certain_pixels() -> None:
    assert class_thresholds(histogram_of(TEN), 0.05)[0] == 1


def test_shares_rise_from_round_to_round() -> None:
    shares = [share_of_round(number, 0.20, 0.05, 0.50) for number in range(1, 9)]
    assert shares == pytest.approx([0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.5])


def test_a_label_is_the_largest_quotient_and_not_the_likeliest_class() -> None:
    shares = torch.tensor([[0.6, 0.4], [0.6, 0.3], [0.9, 0.1], [0.8, 0.2]]).T[None, :, None]
    thresholds = np.array([0.85, 0.35])
    # Quotients: .71 and 1.14; .71 and .86; 1.06 and .29; .94 and .57.
    assert balanced_labels(shares, thresholds).tolist() == [[[1, 255, 0, 255]]]


def test_a_share_equal_to_its_threshold_is_kept() -> None:
    value = float(np.float32(0.7))
    shares = torch.tensor([[[[0.7]], [[0.3]]]])
    assert balanced_labels(shares, np.array([value, 1.0])).item() == 0
    assert balanced_labels(shares, np.array([np.nextafter(value, 1), 1.0])).item() == 255


def labelled(seed: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 5, 3, 4, generator=draws).double().requires_grad_()
    labels = torch.randint(0, 6, (2, 3, 4), generator=draws)
    return logits, labels.masked_fill(labels == 5, 255).to(torch.uint8)


def test_the_loss_is_the_mean_over_labelled_pixels() -> None:
    logits, labels = labelled(1)
    found, count = 0.0, 0
    for n in range(2):
        for y in range(3):
            for x in range(4):
                if labels[n, y, x] != 255:
                    shares = [math.exp(v) for v in logits[n, :, y, x].tolist()]
                    found -= math.log(shares[int(labels[n, y, x])] / sum(shares))
                    count += 1
    assert 0 < count < 24
    assert kept_cross_entropy(logits, labels).item() == pytest.approx(found / count, rel=1e-12)


def test_the_losses_of_parts_add_up() -> None:
    logits, labels = labelled(2)
    parts = [kept_cross_entropy(logits[n : n + 1], labels[n : n + 1], labels) for n in range(2)]
    assert sum(parts).item() == pytest.approx(kept_cross_entropy(logits, labels).item())


def test_no_label_at_all_gives_zero_and_a_gradient_of_zero() -> None:
    logits, labels = labelled(3)
    loss = kept_cross_entropy(logits, torch.full_like(labels, 255))
    loss = loss + mean_over(uniform_cross_entropy(logits), torch.zeros(2, 3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_the_regulariser_is_the_log_of_the_classes_at_its_least() -> None:
    assert uniform_cross_entropy(torch.zeros(1, 19, 1, 1)).item() == pytest.approx(2.944439)
    draws = torch.randn(2, 19, 3, 3, generator=torch.Generator().manual_seed(4)).double()
    shares = draws.softmax(1)
    to_uniform = (-(19 * shares).log() / 19).sum(1)
    assert torch.allclose(uniform_cross_entropy(draws), to_uniform + math.log(19))
