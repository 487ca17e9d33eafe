"""What a training tells of its passes over all images, and what its log says after the last one."""

from typing import Any

import pytest
import torch

from stvm.training.adaptation import adapt
from tests.helpers.tiny_settings import tiny
from tests.objectives.test_steps import CLASSES, Photos, start


class Hears:
    """A progress that hears of iterations and passes."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __call__(self, done: int, total: int, *_: Any) -> None:
        self.heard.append((done, total))

    def tell_pass(self, *told: Any) -> None:
        self.heard.append(told)


def trained(procedure: str, **changes: Any) -> tuple[list[tuple[Any, ...]], Any, Any]:
    """What was told of two iterations on three photographs, the networks, and the log."""
    settings = tiny().replace(
        procedure=procedure, iterations=2, channels=16, width=48, height=32, **changes
    )
    progress = Hears()
    found, log = adapt(settings, start(), Photos(), CLASSES, progress)
    return progress.heard, found, log


def test_the_pass_before_each_round_is_told_image_by_image() -> None:
    """CBST looks at all images twice: for its thresholds, and for the labels."""
    heard, _, log = trained("cbst", cbst_rounds=2)
    hand: list[tuple[Any, ...]] = []
    for number in (1, 2):
        name = f"pass before round {number} of 2"
        hand += [(name, image, 3) for image in (0, 1, 2, 0, 1, 2, 3)]
        hand += [(number, 2)]
    assert heard == hand
    assert [point["iteration"] for point in log.watch] == [0, 1, 2]


def test_the_only_pass_has_no_number() -> None:
    heard, _, _ = trained("urma")
    assert {name for name, *numbers in heard if len(numbers) == 2} == {"pass before round"}


def test_the_last_pass_is_told_and_the_log_ends_with_what_it_left() -> None:
    """TENT measures batch norm anew; the classes at the end are those of the reported network."""
    heard, found, log = trained("tent", lr=0.1)
    assert heard == [(1, 2), (2, 2), ("last pass", 3, 3)]
    assert [point["iteration"] for point in log.watch] == [0, 1, 2]
    images = torch.stack([torch.from_numpy(Photos().image(index)) for index in range(3)])
    with torch.no_grad():
        classes = found.student.eval()(images.permute(0, 3, 1, 2) / 255).argmax(1)
    shares = [float((classes == c).float().mean()) for c in range(CLASSES)]
    assert log.watch[-1]["shares"] == pytest.approx(shares, abs=1e-5)
