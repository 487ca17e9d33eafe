"""CoTTA's views, labels and restored weights, against slow twins."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.networks import build_network
from stvm.objectives.cotta import SCALES, labels_of, restore, shares_of_views


def images() -> Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scales", [(), SCALES])
def test_views_are_averaged_as_a_slow_twin_averages_them(scales: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    network = build_network("small_deeplab", 16, 4).eval()
    found = []
    with torch.no_grad():
        for factor in (1.0, *scales):
            size = [round(factor * 16), round(factor * 24)]
            x = F.interpolate(images(), size, mode="bilinear") if factor != 1 else images()
            for mirrored in (False, True):
                z = network(x.flip(3) if mirrored else x)
                z = F.interpolate(z.flip(3) if mirrored else z, (16, 24), mode="bilinear")
                found.append(z.softmax(1))
        plain, mean = shares_of_views(network, images(), scales)
    assert len(found) == (14 if scales else 2)
    torch.testing.assert_close(plain, found[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(mean, torch.stack(found).mean(0), rtol=0, atol=1e-6)


def test_the_plain_view_labels_where_the_anchor_is_sure() -> None:
    plain = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    mean = torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    sure = torch.tensor([[[True, False], [False, True]]])
    assert labels_of(plain, mean, sure).tolist() == [[[0, 1], [1, 0]]]


class Named(nn.Module):
    """Parameters of several names."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(200, 200)
        self.scale = nn.Parameter(torch.ones(1000))
        self.fixed = nn.Linear(20, 20).requires_grad_(False)


def moved(network: nn.Module) -> nn.Module:
    other = copy.deepcopy(network)
    for value in other.parameters():
        value.data += 1
    return other


def test_trained_weights_and_biases_go_back_by_chance_and_nothing_else() -> None:
    anchor = Named()
    student = moved(anchor)
    torch.manual_seed(3)
    restore(student, anchor, 0.1)
    assert isinstance(student, Named)
    back = student.layer.weight == anchor.layer.weight
    torch.manual_seed(3)
    assert torch.equal(back, torch.rand(200, 200) < 0.1)
    assert 0.09 < back.float().mean() < 0.11
    assert (student.layer.bias == anchor.layer.bias).any()
    assert torch.equal(student.scale, anchor.scale + 1)
    assert torch.equal(student.fixed.weight, anchor.fixed.weight + 1)


def test_with_chance_one_all_goes_back_and_with_zero_nothing_is_drawn() -> None:
    anchor = Named()
    student = moved(anchor)
    before = torch.get_rng_state()
    restore(student, anchor, 0.0)
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(student, Named)
    assert torch.equal(student.layer.weight, anchor.layer.weight + 1)
    restore(student, anchor, 1.0)
    assert torch.equal(student.layer.weight, anchor.layer.weight)
