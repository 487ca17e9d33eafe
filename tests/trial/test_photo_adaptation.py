"""What changed between two networks on images without labels, against a count pixel by pixel."""

import numpy as np
import pytest
import torch
from torch import nn

from stvm.data.streets.street_images import ArrayImages
from stvm.networks import SegmentationNetwork, wrap_network
from stvm.trial.photo_adaptation import compare


def shares(network: SegmentationNetwork, pixels: np.ndarray) -> torch.Tensor:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return network.eval()(images).double().softmax(1)


def named_by_colour(bias: tuple[float, float, float]) -> SegmentationNetwork:
    """The scores of a pixel's three classes are its normalised colours, plus a bias of a tenth."""
    classifier = nn.Conv2d(3, 3, 1)
    classifier.weight.data = torch.eye(3)[:, :, None, None]
    classifier.bias.data = torch.tensor(bias) / 10
    return wrap_network(features=nn.Identity(), classifier=classifier)


def test_changes_are_shares_of_pixels_from_a_class_before_to_a_class_after() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    before, after = named_by_colour((5.0, 0.0, 0.0)), named_by_colour((0.0, 0.0, 7.0))
    found = compare(before, after, ArrayImages(pixels))
    each = [shares(network, pixels) for network in (before, after)]
    first, then = (share.argmax(1).flatten().tolist() for share in each)
    table = np.zeros((3, 3))
    for old, new in zip(first, then, strict=True):
        table[old, new] += 1 / len(first)
    assert not np.allclose(table, table.T, atol=0.01)
    np.testing.assert_allclose(found["from_to"], table, atol=1e-6)
    changed = sum(old != new for old, new in zip(first, then, strict=True)) / len(first)
    assert 0.1 < changed < 0.9 and found["changed"] == pytest.approx(changed, abs=1e-6)
    entropy = [float(-(s * s.log()).sum(1).mean()) for s in each]
    assert found["entropy"] == pytest.approx(entropy, abs=1e-4)
    means = [s.mean((0, 2, 3)) for s in each]
    gain = [float(-(m * m.log()).sum()) - e for m, e in zip(means, entropy, strict=True)]
    assert found["information"] == pytest.approx(gain, abs=1e-4)
    assert found["images"] == 3
