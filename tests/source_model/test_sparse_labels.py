"""Training with labels of which a batch may hold none."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from stvm.data.classes import IGNORE_INDEX
from stvm.data.labelling import Labelling
from stvm.errors import DivergenceError, StvmError
from stvm.memory.tensors import fake_tensors
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.source_model import supervised
from stvm.source_model.labelled_loss import mean_cross_entropy
from stvm.source_model.supervised import SupervisedTraining, train_supervised
from stvm.training.divergence import DivergenceMonitor


class Labelled:
    """Images whose brightness tells the class, labelled in their left columns alone."""

    labelling = Labelling(("low", "high"))

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return 6

    def image(self, index: int) -> np.ndarray:
        return np.repeat(np.where(self._truth(index) == 1, 220, 30)[..., None], 3, 2).astype("u1")

    def label(self, index: int) -> np.ndarray:
        label = self._truth(index).astype(np.uint8)
        label[:, self.columns :] = IGNORE_INDEX
        return label

    def _truth(self, index: int) -> np.ndarray:
        return (np.arange(64)[:, None] + np.arange(128) * 0 + 8 * index) // 16 % 2


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_pixels_without_a_label_give_no_loss_and_no_gradient(weights: torch.Tensor | None) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = mean_cross_entropy(logits, torch.full((2, 4, 4), IGNORE_INDEX), weights)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros(2, 3, 4, 4))  # type: ignore[arg-type]


def test_one_labelled_pixel_is_the_whole_loss() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 4), torch.full((2, 4, 4), IGNORE_INDEX)
    labels[1, 2, 3] = 2
    share = math.exp(logits[1, 2, 2, 3]) / float(logits[1, :, 2, 3].exp().sum())
    for weights in (None, torch.tensor([0.5, 2.0, 0.01])):
        found = float(mean_cross_entropy(logits, labels, weights))
        assert math.isclose(found, -math.log(share), rel_tol=1e-5)


@pytest.mark.parametrize("auxiliary", [0.0, 0.5])
def test_a_batch_without_a_label_moves_weights_by_their_decay_alone(auxiliary: float) -> None:
    torch.manual_seed(0)
    settings, model = Settings(), build_network("small_deeplab", 16, 3)
    kept = copy.deepcopy(model)
    training = SupervisedTraining(model, settings, torch.tensor([1.0, 3.0, 2.0]))
    training.auxiliary_weight = auxiliary
    training.both = lambda images: torch.stack([model.logits(images)] * 2)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    training.step(pixels, torch.full((2, 32, 32), IGNORE_INDEX), 1)
    training.finite.check()
    rate, decay = settings.source.source_lr, settings.training.weight_decay
    for now, before in zip(model.parameters(), kept.parameters(), strict=True):
        # Nesterov's first step goes 1 + momentum times as far as the gradient, here the decay.
        torch.testing.assert_close(now, before * (1 - rate * decay * 1.9))


@pytest.mark.slow
@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_labels_in_an_eighth_of_each_image_train_a_network(balance: float) -> None:
    torch.manual_seed(0)
    settings = Settings().replace(
        **{"source_iterations": 60, "source_batch": 2, "crop_height": 32, "crop_width": 32},
        **{"dataset": "folder", "source_root": "a", "target_root": "b", "classes": "low,high"},
        source_balance=balance,
    )
    network = build_network("small_deeplab", 16, 2)
    images = Labelled(16)
    train_supervised(network, images, settings, (32, 32))
    with torch.no_grad():
        pixels = torch.from_numpy(images.image(0)).permute(2, 0, 1)[None].float() / 255
        right = network(pixels).argmax(1)[0].numpy() == images._truth(0)
    assert right.mean() > 0.9


def test_labels_without_any_class_are_refused_before_training() -> None:
    network = build_network("small_deeplab", 16, 2)
    with pytest.raises(StvmError, match="none of the 6 training labels has a pixel of a class"):
        train_supervised(network, Labelled(0), Settings(), (32, 32))


def test_a_training_begins_anew_from_first_weights_that_the_gpu_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = []

    def run(make: Callable[[], SupervisedTraining], *rest: object) -> None:
        with torch.no_grad():
            for _ in range(2):
                begun.append(next(make().network.parameters()).clone())
                next(network.parameters()).add_(1)

    monkeypatch.setattr(supervised, "run_training", run)
    network = build_network("small_deeplab", 16, 2)
    first = next(network.parameters()).clone()
    train_supervised(network, Labelled(16), Settings(), (32, 32))
    assert all(torch.equal(found, first) for found in begun) and len(begun) == 2
    with fake_tensors():
        network = build_network("small_deeplab", 16, 2).to("cuda")
        given: list[Any] = []
        load = network.load_state_dict
        monkeypatch.setattr(
            *(network, "load_state_dict"), lambda state: (given.append(state), load(state))[1]
        )
        versions = network.state_dict()._metadata
        train_supervised(network, Labelled(16), Settings(), (32, 32))
    assert {value.device.type for state in given for value in state.values()} == {"cpu"}
    assert [state._metadata for state in given] == [versions, versions]


def test_before_any_update_no_learning_rate_is_to_blame() -> None:
    for iteration, advice in ((1, "weights that training starts from"), (2, "lower source_lr")):
        finite = DivergenceMonitor(0, torch.device("cpu"), "source_lr")
        finite.check_loss(iteration, torch.tensor(torch.nan))
        with pytest.raises(DivergenceError, match=advice):
            finite.check()
