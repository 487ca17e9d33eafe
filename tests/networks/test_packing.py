"""Several maps in one tensor, and networks of torchvision whose classifier takes two."""

import pytest
import torch
from torchvision.models import segmentation

from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.networks.packing import Packing


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (8, 16), (9, 31)])
def test_what_is_unpacked_is_what_was_packed_and_so_are_the_gradients(
    size: tuple[int, int],
) -> None:
    packing, (height, width) = Packing((2, 3, 1), (1, 2, 8)), size
    maps = [
        torch.randn(2, d, -(-height // s), -(-width // s), requires_grad=True)
        for d, s in zip(packing.channels, packing.strides, strict=True)
    ]
    packed = packing.pack(maps)
    assert packed.shape == (2, 6, height, width)
    back = packing.unpack(packed)
    weights = [torch.randn_like(m) for m in maps]
    sum((m * w).sum() for m, w in zip(back, weights, strict=True)).backward()
    for given, found, weight in zip(maps, back, weights, strict=True):
        assert torch.equal(given, found) and torch.equal(given.grad, weight)


def test_maps_of_another_stride_are_refused() -> None:
    with pytest.raises(StvmError, match="a map of 5x5 is none of stride 2 beside one of 8x8"):
        Packing((1, 1), (1, 2)).pack([torch.rand(1, 1, 8, 8), torch.rand(1, 1, 5, 5)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "lraspp_mobilenet_v3_large",
        pytest.param("deeplabv3_mobilenet_v3_large", marks=pytest.mark.long),
        pytest.param("fcn_resnet50", marks=pytest.mark.long),
    ],
)
def test_torchvisions_networks_compute_what_torchvision_computes(name: str) -> None:
    from stvm.pretrained.families import LAYOUTS
    from stvm.pretrained.fitting import public_names

    theirs = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=5)
    network = build_network(name, 0, 5).eval()
    names = public_names(network, LAYOUTS["torchvision"])
    state = theirs.eval().state_dict()
    assert set(names) == set(state)
    network.load_state_dict({names[key]: value for key, value in state.items()})
    images = torch.rand(1, 3, 70, 97)
    with torch.no_grad():
        expected = theirs(network.normalised(images))["out"]
        torch.testing.assert_close(network(images), expected)
        head = network.new_head(7).eval()
        assert head(network.extract(images)).shape[1] == 7
