"""The optimiser that the settings name, where only weight decay and momentum move the weights."""

from typing import Any

import pytest
import torch

from stvm.networks import build_network
from stvm.training.optim import make_optimizer
from tests.helpers.tiny_settings import tiny


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_decay_and_both_rates_are_those_of_the_settings(optimizer: str) -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 8, 4)
    own: dict[str, Any] = {"lr": 0.02, "head_lr_factor": 5.0, "weight_decay": 0.3}
    training = tiny(optimizer=optimizer, momentum=0.0, **own).training
    before = {name: value.clone() for name, value in network.named_parameters()}
    steps = make_optimizer(network, training)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    steps.step()
    # With a gradient of zero both rules shrink a weight by the rate times the decay.
    for name, value in network.named_parameters():
        rate = 0.02 if name.startswith("features.") else 0.1
        torch.testing.assert_close(value, before[name] * (1 - rate * 0.3))
