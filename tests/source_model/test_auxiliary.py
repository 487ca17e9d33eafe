"""The auxiliary classifier in source training: trained where its loss has a weight."""

import pytest
import torch
from torch.nn import functional as F

from stvm.settings import Settings
from stvm.source_model.supervised import SupervisedTraining
from tests.networks.test_networks import small_v2

RECIPE = {"network": "deeplabv2_resnet101", "source_lr": 1e-3, "source_head_lr_factor": 10.0}


@pytest.mark.parametrize(
    ("auxiliary", "weight", "counts"),
    [(True, 1.0, True), (True, 0.25, True), (True, 0.0, False), (False, 0.25, False)],
)
def test_an_auxiliary_classifier_is_trained_where_its_loss_counts(
    auxiliary: bool, weight: float, counts: bool
) -> None:
    """With the classifier's rate; no pass is made for one that does not count."""
    network = small_v2("two", auxiliary=True)
    settings = Settings().replace(auxiliary=auxiliary, source_auxiliary=weight, **RECIPE)
    training = SupervisedTraining(network, settings, None)
    if not counts:
        training.both = lambda images: pytest.fail("both classifiers were asked")
    rates = [group["lr"] for group in training.optimizer.param_groups]
    assert rates == pytest.approx([1e-3, 1e-2, 1e-2] if counts else [1e-3, 1e-2])
    torch.manual_seed(1)
    images, labels = torch.rand(2, 3, 33, 49), torch.randint(0, 5, (2, 33, 49))
    middle, last = network.features.stages(network.normalised(images))
    assert network.auxiliary is not None
    heads = (network.classifier(last), network.auxiliary(middle))
    enlarged = [F.interpolate(head, (33, 49), mode="bilinear") for head in heads]
    first, second = (F.cross_entropy(logits, labels).item() for logits in enlarged)
    found = training.loss(images, labels).item()
    assert found == pytest.approx(first + (weight * second if counts else 0), rel=1e-4)
