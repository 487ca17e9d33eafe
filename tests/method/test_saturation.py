"""Equation 1 where float32 rounds the shares of a class to 1."""

import math

import numpy as np
import pytest
import torch

from stvm.method.mean_teacher import doubt_in
from stvm.method.thresholds import ClassThresholds, class_quantiles, mix_logs, most_confident
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.training.builder import build_adaptation


def sure_logits(low: float, high: float, frames: int = 3) -> torch.Tensor:
    """(frames, 4, 12, 15) whose largest lies `low` to `high` above three equal others."""
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (frames, 12, 15))
    margins = low + (high - low) * torch.rand(frames, 12, 15)
    return torch.nn.functional.one_hot(labels, 4).movedim(3, 1) * margins.unsqueeze(1)


def read(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    confidence, labels = logits.softmax(1).max(1)
    return confidence, labels, doubt_in(logits.clone(), labels)


@pytest.mark.parametrize(("low", "high"), [(0.5, 4.0), (18.0, 30.0), (200.0, 900.0)])
def test_doubt_is_the_logarithm_of_what_is_left_of_the_share(low: float, high: float) -> None:
    logits = sure_logits(low, high)
    _, _, doubt = read(logits)
    for margin, found in zip(logits.amax(1).flatten(), doubt.flatten(), strict=True):
        # 1 - p = 3 / (3 + e^margin), of three equal others.
        rest = math.log(3.0) - float(margin)
        expected = rest - math.log1p(math.exp(rest))
        assert math.isclose(float(found), expected, rel_tol=1e-5)


def test_the_most_confident_pixels_are_selected_where_every_share_rounds_to_1() -> None:
    logits = sure_logits(18.0, 30.0)
    confidence, labels, doubt = read(logits)
    assert (confidence == 1).all()
    thresholds = ClassThresholds(4)
    slow = [math.nan] * 4
    for frame in range(3):
        part = slice(frame, frame + 1)
        thresholds.update(confidence[part], labels[part], doubt[part])
        mask = thresholds.select(confidence[part], labels[part], doubt[part])
        rest = 3.0 / (3.0 + np.exp(logits[frame].amax(0).double().numpy()))
        for c in range(3):
            own = (labels[frame] == c).numpy()
            now = float(np.quantile(rest[own], 0.2))
            slow[c] = now if math.isnan(slow[c]) else 0.9 * slow[c] + 0.1 * now
            assert (mask[0].numpy()[own] == (rest[own] < slow[c])).all()
            assert 0 < mask[0].numpy()[own].mean() < 1
    np.testing.assert_allclose(thresholds.doubts[:3].exp().numpy(), slow[:3], rtol=1e-4)
    assert thresholds.doubts[3].isnan() and thresholds.values[3].isnan()


@pytest.mark.parametrize("by", ["class", "image"])
def test_the_share_admitted_is_the_one_asked_for_where_every_share_rounds_to_1(by: str) -> None:
    confidence, labels, doubt = read(sure_logits(18.0, 30.0))
    mask = most_confident(confidence, labels, 4, 0.3, by, doubt)  # type: ignore[arg-type]
    for frame in range(3):
        for group in [labels[frame] == c for c in range(3)] if by == "class" else [labels[0] > -1]:
            kept, left = doubt[frame][group & mask[frame]], doubt[frame][group & ~mask[frame]]
            assert abs(len(kept) - 0.3 * int(group.sum())) <= 1
            assert kept.max() < left.min()


def test_equal_doubts_are_no_surer_than_their_threshold() -> None:
    logits = torch.zeros(2, 3, 8, 8)
    logits[:, 1] = 25.0
    confidence, labels, doubt = read(logits)
    thresholds = ClassThresholds(3, momentum=0.7)
    for _ in range(5):
        thresholds.update(confidence, labels, doubt)
        assert not thresholds.select(confidence, labels, doubt).any()


def test_doubts_are_averaged_as_shares_are() -> None:
    first, second = torch.tensor([-2.0, -50.0, -300.0]), torch.tensor([-1.0, -20.0, -300.0])
    expected = np.log(
        0.75 * np.exp(first.double().numpy()) + 0.25 * np.exp(second.double().numpy())
    )
    np.testing.assert_allclose(mix_logs(first, second, 0.25).numpy(), expected, rtol=1e-6)
    assert torch.equal(mix_logs(first, second, 0.0), first)


def test_quantiles_of_values_of_any_size() -> None:
    torch.manual_seed(0)
    values, labels = 1e3 * torch.randn(200), torch.randint(0, 3, (200,))
    for c, found in enumerate(class_quantiles(values, labels, 3, 0.35).tolist()):
        expected = float(np.quantile(values[labels == c].double().numpy(), 0.35))
        assert math.isclose(found, expected, rel_tol=1e-5)


def test_a_sure_network_trains_its_metric_network_on_a_part_of_its_pixels() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    with torch.no_grad():
        for weights in source.classifier.parameters():
            weights.mul_(1e6)
    built = build_adaptation(Settings().replace(channels=16, lr=1e-9), source, 5)
    images = torch.rand(2, 3, 32, 32)
    confidence = built.step.label(images)[1]
    assert (confidence == 1).float().mean() > 0.95
    report = built.step(images, 1)
    assert 0.05 < float(report.selected) < 0.6
    assert float(report.metric_loss) > 0
