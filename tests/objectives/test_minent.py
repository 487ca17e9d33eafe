"""MinEnt: closed forms, what moves in one step, and a whole trial."""

import math

import pytest
import torch

from stvm.networks import build_network
from stvm.objectives.minent import normalised_entropy
from stvm.objectives.objective import TargetBatch
from stvm.training.adaptation import build
from tests.helpers.tiny_settings import tiny


def test_equal_shares_give_1_and_a_sure_prediction_0() -> None:
    assert float(normalised_entropy(torch.zeros(2, 19, 3, 4))) == pytest.approx(1)
    sure = torch.zeros(1, 4, 2, 2)
    sure[:, 1] = 200
    assert float(normalised_entropy(sure)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_that_of_a_loop_over_pixels() -> None:
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for n in range(2):
        for y in range(3):
            for x in range(4):
                raw = [math.exp(v) for v in logits[n, :, y, x].tolist()]
                shares = [v / sum(raw) for v in raw]
                total -= sum(p * math.log2(p) for p in shares) / math.log2(5)
    assert float(normalised_entropy(logits)) == pytest.approx(total / 24, rel=1e-5)


def test_parts_of_a_batch_have_its_gradient() -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    moved = []
    for parts in (1, 2):
        torch.manual_seed(0)
        start = build_network("small_deeplab", 16, 5).eval()
        settings = tiny().replace(
            procedure="minent", batch=4, accumulate=parts, student_bn="frozen", channels=16
        )
        built = build(settings, start, 5)
        built.step(TargetBatch(images), 1)  # type: ignore[arg-type]
        moved.append(built.student.classifier.state_dict())
    for name, value in moved[0].items():
        torch.testing.assert_close(value, moved[1][name])
