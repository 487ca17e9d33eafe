"""HCL: weights of classes and pixels, and the contrastive loss."""

import itertools
import math

import pytest
import torch

from stvm.errors import StvmError
from stvm.objectives.hcl import (
    averaged,
    class_weights,
    contrast,
    divergence,
    normalised_entropies,
    reliability,
    square_side,
)
from stvm.settings import Settings


def test_the_entropy_weight_is_clamped() -> None:
    found = reliability(torch.tensor([0.0, 0.1, 0.2, 0.7]))
    assert found.tolist() == pytest.approx([1.1, 1.0, 0.9, 0.9])
    assert normalised_entropies(torch.zeros(1, 19, 1, 1)).item() == pytest.approx(1)


def test_the_divergence_is_that_of_the_average_from_the_historical_network() -> None:
    draws = torch.Generator().manual_seed(0)
    h, e = (torch.randn(1, 5, 1, 1, generator=draws).double() for _ in range(2))
    p, q = h.softmax(1).flatten().tolist(), e.softmax(1).flatten().tolist()
    hand = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert divergence(h, e).item() == pytest.approx(hand)
    assert divergence(e, h).item() != pytest.approx(hand)
    assert divergence(h, h).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "most", "side"),
    [(65, 129, 8385, 1), (65, 129, 8384, 2), (64, 208, 3328, 2), (64, 208, 3327, 4), (5, 5, 1, 8)]
    + [(5, 4, 4, 4), (4, 5, 4, 4)],
)
def test_a_fine_feature_map_is_averaged_over_the_smallest_squares_that_do(
    height: int, width: int, most: int, side: int
) -> None:
    assert square_side(height, width, most) == side


def test_squares_at_the_end_of_a_map_are_means_of_fewer_positions() -> None:
    maps = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    for side, size in ((1, (5, 7)), (2, (3, 4)), (4, (2, 2))):
        found = averaged(maps, side)
        assert found.shape[2:] == size
        for i, j in itertools.product(*map(range, size)):
            square = maps[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
            torch.testing.assert_close(found[:, :, i, j], square.mean((2, 3)))


def test_as_many_positions_as_deeplab_has_are_compared_one_by_one() -> None:
    settings = Settings().replace(procedure="hcl")
    most = settings.flat()["hcl_positions"]
    assert square_side(65, 129, most) == square_side(100, 100, most) == 1
    assert square_side(101, 100, most) == 2
    with pytest.raises(StvmError, match="hcl_positions"):
        settings.replace(hcl_positions=0)


def test_rare_classes_weigh_more() -> None:
    assert class_weights(torch.tensor([0, 9, 10, 11]), 10, 7.0).tolist() == [7, 7, 1, 1]


def test_the_contrastive_loss_is_that_of_a_loop() -> None:
    draws = torch.Generator().manual_seed(2)
    own, average = (torch.randn(2, 6, 5, generator=draws).double() for _ in range(2))
    labels = torch.tensor([[0, 0, 1, 1, 0], [2, 2, 2, 3, 4]])
    weights = torch.rand(2, 5, generator=draws).double() * 0.2 + 0.9
    total = 0.0
    for n in range(2):
        a, b = (x[n] / x[n].norm(dim=0) for x in (own, average))
        for i in range(5):
            e = {
                j: float(weights[n, j]) * math.exp(float(a[:, i] @ b[:, j]) / 0.07)
                for j in range(5)
                if j != i
            }
            for j, value in e.items():
                if labels[n, i] == labels[n, j]:
                    total -= math.log(value / sum(e.values())) / 5
    assert contrast(own, average, labels, weights).item() == pytest.approx(total / 10)
