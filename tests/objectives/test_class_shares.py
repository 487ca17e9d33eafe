"""SHOT-IM, SRDA and SFDA's target loss, against closed forms and slow twins."""

import math

import pytest
import torch
from torch import Tensor

from stvm.objectives.objective import TargetImages
from stvm.objectives.sfdatar import squared_shares
from stvm.objectives.shotim import information_maximisation
from stvm.objectives.srda import inverse_weights, share_divergence, weighted_entropy
from tests.objectives.test_offline_labels import IMAGES, SHARP
from tests.objectives.test_offline_steps import built, start_network

CLASSES = 19


def even() -> Tensor:
    return torch.zeros(2, CLASSES, 4, 5)


def sure(labels: Tensor) -> Tensor:
    """Scores of pixels that are sure of their labels (N, H, W)."""
    return 1e4 * torch.nn.functional.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()


def balanced() -> Tensor:
    return torch.arange(2 * CLASSES).remainder(CLASSES).view(2, 1, CLASSES)


def drawn() -> Tensor:
    return 3 * torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))


def shares_of(logits: Tensor) -> list[list[list[float]]]:
    """Softmax by images, pixels and classes, in double precision."""
    return logits.double().softmax(1).flatten(2).transpose(1, 2).tolist()


def test_shot_of_even_pixels_is_zero_and_of_balanced_sure_ones_minus_ln_c() -> None:
    assert information_maximisation(even()).item() == pytest.approx(0, abs=1e-6)
    found = information_maximisation(sure(balanced())).item()
    assert found == pytest.approx(-math.log(CLASSES), abs=3e-4)


def test_shot_calls_one_sure_class_as_good_as_even_pixels() -> None:
    """The published term wants equal classes; a prior of that one class does not."""
    one = sure(torch.zeros(1, 4, 4, dtype=torch.long))
    assert information_maximisation(one).item() == pytest.approx(0, abs=1e-4)
    prior = torch.eye(CLASSES)[0]
    assert information_maximisation(one, prior).item() == pytest.approx(0, abs=1e-4)
    other = information_maximisation(one, torch.eye(CLASSES)[1]).item()
    assert other == pytest.approx(math.log(1 / 1e-5), rel=1e-3)


def test_shot_with_a_uniform_prior_is_the_published_loss_and_ln_c() -> None:
    logits = drawn()
    more = information_maximisation(logits, torch.full((5,), 0.2)).item()
    expected = information_maximisation(logits).item() + math.log(5)
    assert more == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("prior", [None, (0.5, 0.2, 0.15, 0.1, 0.05)])
def test_shot_equals_a_slow_twin(prior: tuple[float, ...] | None) -> None:
    pixels = [pixel for image in shares_of(drawn()) for pixel in image]
    entropy = -sum(p * math.log(p + 1e-5) for pixel in pixels for p in pixel) / len(pixels)
    means = [sum(column) / len(pixels) for column in zip(*pixels, strict=True)]
    term = sum(m * math.log(m + 1e-5) for m in means)
    if prior:
        term -= sum(m * math.log(p + 1e-5) for m, p in zip(means, prior, strict=True))
    given = torch.tensor(prior) if prior else None
    found = information_maximisation(drawn(), given).item()
    assert found == pytest.approx(entropy + term, rel=1e-5)


def test_srda_entropy_of_even_pixels_is_ln_c_over_c_with_weights_that_add_up_to_one() -> None:
    shares = even().softmax(1)
    weights = inverse_weights(torch.rand(CLASSES), 1e-3)
    assert weights.sum().item() == pytest.approx(1)
    expected = math.log(CLASSES) / CLASSES
    assert weighted_entropy(shares, weights).item() == pytest.approx(expected, rel=1e-5)
    assert weighted_entropy(sure(balanced()).softmax(1), weights).item() == 0


def test_srda_weights_are_inverse_shares_above_the_floor() -> None:
    found = inverse_weights(torch.tensor([0.8, 0.2, 0.0]), 0.1).tolist()
    assert found == pytest.approx([1.25 / 16.25, 5 / 16.25, 10 / 16.25])


def test_srda_divergence_looks_at_each_image_or_at_the_batch() -> None:
    """Two images of one class each: together as the prior says, one by one not."""
    shares = sure(torch.tensor([0, 1]).view(2, 1, 1).expand(2, 3, 3)).softmax(1)
    prior = torch.zeros(CLASSES)
    prior[:2] = 0.5
    assert share_divergence(shares, prior, "batch").item() == pytest.approx(0, abs=1e-6)
    assert share_divergence(shares, prior, "image").item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("over", ["image", "batch"])
def test_srda_equals_a_slow_twin(over: str) -> None:
    prior, weights = [0.4, 0.3, 0.2, 0.1, 0.0], [0.1, 0.2, 0.3, 0.3, 0.1]
    images = shares_of(drawn())
    pixels = [pixel for image in images for pixel in image]
    terms = [v * p * math.log(p + 1e-10) for x in pixels for v, p in zip(weights, x, strict=True)]
    entropy = -sum(terms) / sum(p for pixel in pixels for p in pixel)
    divergences = []
    for group in images if over == "image" else [pixels]:
        s = [sum(column) / len(group) for column in zip(*group, strict=True)]
        logs = [math.log(a + 1e-10) - math.log(b + 1e-10) for a, b in zip(s, prior, strict=True)]
        divergences.append(sum(a * log for a, log in zip(s, logs, strict=True)))
    shares = drawn().softmax(1)
    found = weighted_entropy(shares, torch.tensor(weights)).item()
    assert found == pytest.approx(entropy, rel=1e-5)
    far = share_divergence(shares, torch.tensor(prior), over).item()  # type: ignore[arg-type]
    assert far == pytest.approx(sum(divergences) / len(divergences), rel=1e-5)


def test_sfda_target_loss_of_even_and_sure_pixels_and_of_a_slow_twin() -> None:
    assert squared_shares(even()).item() == pytest.approx(-1 / CLASSES)
    assert squared_shares(sure(balanced())).item() == pytest.approx(-1)
    pixels = [pixel for image in shares_of(drawn()) for pixel in image]
    expected = -sum(p * p for pixel in pixels for p in pixel) / len(pixels)
    assert squared_shares(drawn()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scores", [even(), sure(balanced()), -1e4 * even()])
def test_gradients_are_finite_where_shares_are_0_or_1(scores: Tensor) -> None:
    prior = torch.eye(CLASSES)[3]
    logits = scores.clone().requires_grad_()
    shares = logits.softmax(1)
    (
        information_maximisation(logits, prior)
        + weighted_entropy(shares, prior)
        + share_divergence(shares, prior, "image")
        + squared_shares(logits)
    ).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("together", [1, 2, 5])
def test_shares_of_the_start_are_a_mean_in_which_each_image_counts_alike(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five images; in batches of two, the last one is alone."""
    monkeypatch.setattr(TargetImages, "size_of_batch", lambda _: together)
    made = built("shotim", SHARP, shotim_prior="source")
    made.objective.begin_round(1, IMAGES, None)
    network = start_network(SHARP)
    with torch.no_grad():
        own = [network(IMAGES.image(k)).softmax(1).mean((0, 2, 3)) for k in range(5)]
    found = made.objective.state_dict()["prior"]
    torch.testing.assert_close(found, sum(own[1:], own[0]) / 5)
