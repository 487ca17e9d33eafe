"""URMA: the disagreement of the auxiliary decoders."""

import pytest
import torch

from stvm.objectives.urma import disagreement


def test_the_disagreement_is_a_mean_over_pixels_and_classes() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 2, 2, generator=draws).double().requires_grad_()
    decoded = [torch.randn(2, 3, 2, 2, generator=draws).double().requires_grad_() for _ in range(4)]
    total = 0.0
    for scores in decoded:
        for n in range(2):
            for y in range(2):
                for x in range(2):
                    gap = scores[n, :, y, x].softmax(0) - logits[n, :, y, x].softmax(0)
                    total += (gap**2).sum().item()
    loss = disagreement(logits, decoded)
    assert loss.item() == pytest.approx(total / (2 * 2 * 2 * 3))
    loss.backward()
    assert logits.grad is None and decoded[3].grad is not None


def test_one_decoder_at_the_opposite_corner() -> None:
    sure = torch.tensor([40.0, 0.0]).view(1, 2, 1, 1)
    assert disagreement(sure, [sure.flip(1)]).item() == pytest.approx(1.0)
    assert disagreement(sure, [sure]).item() == 0
