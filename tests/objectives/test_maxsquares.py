"""MaxSquares and IW: closed forms and a slow twin."""

import pytest
import torch
from torch import Tensor

from stvm.objectives.maxsquares import mean_squares, weighted_squares

C = 19


def sure(classes: Tensor) -> Tensor:
    """Logits of predictions that are certain, (N, H, W) -> (N, C, H, W)."""
    return 200.0 * torch.nn.functional.one_hot(classes, C).permute(0, 3, 1, 2)


def test_closed_forms() -> None:
    equal, one = torch.zeros(1, C, 4, 6), sure(torch.full((1, 4, 6), 3))
    assert float(mean_squares(equal)) == pytest.approx(-1 / 722)
    assert float(mean_squares(one)) == pytest.approx(-1 / 38)
    assert float(weighted_squares(one, 0.2)) == pytest.approx(-0.052632, abs=1e-6)
    assert float(weighted_squares(equal, 0.2)) == pytest.approx(-0.002770, abs=1e-6)
    two = torch.zeros(1, 24, dtype=torch.long)
    two[0, :6] = 1
    assert float(weighted_squares(sure(two.view(1, 4, 6)), 0.2)) == pytest.approx(
        -0.059173, abs=1e-6
    )


def slow(logits: Tensor, ratio: float) -> tuple[float, float]:
    plain = weighted = 0.0
    images, classes, height, width = logits.shape
    for image in logits.softmax(1):
        found = image.argmax(0).flatten().tolist()
        for y in range(height):
            for x in range(width):
                squares = sum(float(p) ** 2 for p in image[:, y, x])
                own = found.count(found[y * width + x])
                plain += squares
                weighted += squares / max(1, own**ratio * (height * width) ** (1 - ratio))
    pixels = images * height * width
    return -plain / (2 * pixels * classes), -weighted / (images * classes)


@pytest.mark.parametrize("ratio", [0.0, 0.2, 1.0])
def test_the_losses_are_those_of_a_loop_over_pixels(ratio: float) -> None:
    logits = 3 * torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    plain, weighted = slow(logits, ratio)
    assert float(mean_squares(logits)) == pytest.approx(plain, rel=1e-5)
    assert float(weighted_squares(logits, ratio)) == pytest.approx(weighted, rel=1e-5)


def test_the_weight_takes_no_gradient() -> None:
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (weighted,) = torch.autograd.grad(weighted_squares(logits, 1.0), logits)
    # With ratio 1 the weight of a pixel is 1 over the number of pixels of its class.
    classes = logits.argmax(1)
    own = (classes[0, :, :, None, None] == classes[0]).sum((2, 3))
    squares = (logits.softmax(1).square().sum(1) / own).sum() / 3
    (expected,) = torch.autograd.grad(-squares, logits)
    torch.testing.assert_close(weighted, expected)
