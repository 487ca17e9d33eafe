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


def test_images_are_normalised_as_the_wrapped_network_wants_them() -> None:
    mean, std = (0.1, 0.2, 0.4), (0.5, 0.25, 2.0)
    parts = {"features": nn.Identity(), "classifier": nn.Conv2d(3, 2, 1)}
    for bgr, expected in ((False, [0.8, 1.2, 0.05]), (True, [0.05, 1.2, 0.8])):
        network = stvm.wrap_network(**parts, mean=mean, std=std, bgr=bgr)
        pixels = network.extract(torch.full((1, 3, 1, 1), 0.5))
        torch.testing.assert_close(pixels.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("bias", [True, False])
def test_a_new_head_is_ready_to_be_trained_whatever_the_classifier_is(bias: bool) -> None:
    last = nn.Conv2d(6, 5, 3, stride=2, padding=2, dilation=2, bias=bias)
    classifier = nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), last)
    classifier.requires_grad_(False).eval()
    head = stvm.wrap_network(features=nn.Identity(), classifier=classifier).new_head(9)
    assert all(module.training for module in head.modules())
    assert all(parameter.requires_grad for parameter in head.parameters())
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    expected = {name: tuple(value.shape) for name, value in classifier.state_dict().items()}
    expected["3.weight"] = (9, 6, 3, 3)
    if bias:
        expected["3.bias"] = (9,)
    assert shapes == expected
    features = torch.rand(2, 4, 8, 8)
    assert head(features).shape[2:] == classifier(features).shape[2:]
    assert not any(module.training for module in classifier.modules())


class Swapped(nn.Module):
    """Its last convolution in the forward pass is the one that was defined first."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(8, 5, 1)
        self.first = nn.Conv2d(4, 8, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(features).relu())


def test_the_last_convolution_of_the_forward_pass_gets_the_new_outputs() -> None:
    network = stvm.wrap_network(features=nn.Conv2d(3, 4, 1), classifier=Swapped())
    head = network.new_head(9)
    assert head.last.out_channels == 9 and head.first.out_channels == 8
    assert head(network.extract(torch.rand(1, 3, 8, 8))).shape[1] == 9


def test_groups_of_the_last_convolution_are_kept() -> None:
    last = nn.Conv2d(8, 4, 1, groups=4)
    network = stvm.wrap_network(features=nn.Conv2d(3, 8, 1), classifier=last)
    head = network.new_head(12)
    assert head.groups == 4 and head.weight.shape == (12, 2, 1, 1)
    with pytest.raises(stvm.StvmError, match="4 groups, which 7 outputs cannot be split into"):
        network.new_head(7)


def test_a_last_convolution_that_does_not_give_the_logits_is_told() -> None:
    classifier = nn.Sequential(nn.Conv2d(4, 20, 1), nn.PixelShuffle(2))
    network = stvm.wrap_network(features=nn.Conv2d(3, 4, 1), classifier=classifier)
    with pytest.raises(stvm.StvmError, match=r"gives 5 channels, and its last nn.Conv2d \(0\) 20"):
        network.new_head(9)
