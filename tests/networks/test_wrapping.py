"""Networks of others, wrapped."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import stvm
from tests.helpers.small_torchvision import mobile


@pytest.mark.slow
def test_a_wrapped_torchvision_network_computes_what_it_did() -> None:
    model = mobile()
    network = stvm.wrap_network(features=model.backbone, classifier=model.classifier).eval()
    images = torch.rand(1, 3, 48, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(network(images), model(pixels)["out"])
    head = network.new_head(7).eval()
    features = network.extract(images)
    assert head(features).shape[1] == 7 and network.classifier(features).shape[1] == 19
    first, theirs = head[1].weight, model.classifier[1].weight
    assert first.shape == theirs.shape and not torch.equal(first, theirs) and first.requires_grad
    with pytest.raises(stvm.StvmError, match="wrapped network has no architecture"):
        _ = network.architecture


def test_what_cannot_be_wrapped_is_told_in_a_line() -> None:
    whole = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval()
    network = stvm.wrap_network(features=whole.backbone, classifier=nn.Flatten())
    with pytest.raises(stvm.StvmError, match="features give low, high in place of one tensor"):
        network(torch.rand(1, 3, 32, 32))
    with pytest.raises(stvm.StvmError, match=r"Flatten has no nn.Conv2d .* give head="):
        network.new_head(4)
    given = stvm.wrap_network(
        features=nn.Identity(), classifier=nn.Flatten(), head=lambda n: nn.Conv2d(3, n, 1)
    )
    assert given.new_head(4).out_channels == 4
