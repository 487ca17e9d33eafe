"""The oracle's loss where several outputs stand for one label, against a slow twin."""

import math

import numpy as np
import pytest
import torch

from stvm.data.correspondence import map_classes, same_classes
from stvm.networks import build_network
from stvm.source_model.labelled_loss import MergedClasses
from stvm.source_model.supervised import SupervisedTraining
from tests.helpers.tiny_settings import tiny

SOURCE, TARGET = ("van", "car", "road", "bus", "wall"), ("car", "sky", "road")
CLASSES = map_classes("car:car+van+bus,sky:-,road", SOURCE, TARGET)
WEIGHTS = torch.tensor([0.5, 7.0, 2.0])


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 6, 8), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return 3 * torch.randn(2, 5, 6, 8, generator=generator), labels.to(torch.uint8)


def slow_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    """Minus the logarithm of the summed probability of a label's outputs, pixel by pixel."""
    loss = total = 0.0
    for n, y, x in np.ndindex(*labels.shape):
        label = int(labels[n, y, x])
        if label == 255 or TARGET[label] == "sky":
            continue
        shares = [math.exp(value) for value in logits[n, :, y, x].tolist()]
        own = {"car": (0, 1, 3), "road": (2,)}[TARGET[label]]
        weight = float(weights[label])
        loss -= weight * math.log(sum(shares[i] for i in own) / sum(shares))
        total += weight
    return loss / total


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_loss_of_the_oracle_equals_the_slow_twin(
    parts: int, weights: torch.Tensor | None
) -> None:
    logits, labels = drawn()
    merged = MergedClasses.of(CLASSES)
    assert merged
    settings = tiny(source_accumulate=parts, source_batch=2)
    training = SupervisedTraining(build_network("small_deeplab", 8, 5), settings, weights, merged)
    training.predict = lambda images: logits[images[:, 0, 0, 0].long()]
    numbers = torch.arange(2.0).view(2, 1, 1, 1)
    found = float(sum(training.losses(numbers, merged.labels(labels))))
    expected = slow_loss(logits, labels, torch.ones(3) if weights is None else weights)
    assert found == pytest.approx(expected, abs=1e-5)


def test_unmatched_outputs_lose_probability_and_merged_ones_share_the_gain() -> None:
    merged = MergedClasses.of(CLASSES)
    assert merged
    outputs = torch.zeros(1, 5, 1, 1, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        merged.logits(outputs), merged.labels(torch.tensor([[[0]]]))
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    gain = -outputs.grad.flatten()
    assert gain[4] < 0 and gain[2] < 0
    assert gain[0] == gain[1] == gain[3] > 0
    assert MergedClasses.of(same_classes(TARGET)) is None


def test_training_on_labels_of_merged_classes_lowers_the_loss() -> None:
    torch.manual_seed(0)
    settings = tiny(source_iterations=20, source_lr=0.05, source_batch=2)
    merged = MergedClasses.of(CLASSES)
    training = SupervisedTraining(build_network("small_deeplab", 8, 5), settings, None, merged)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    labels = (pixels[:, 0] > 127).long() * 2
    assert merged

    def loss() -> float:
        with torch.no_grad():
            return float(training.loss(pixels.float() / 255, merged.labels(labels)))

    before = loss()
    for iteration in range(1, 21):
        training.step(pixels, labels, iteration)
    assert loss() < 0.8 * before
