"""How many pixels a class gives to the metric network, and which classes are too small to."""

import pytest
import torch

from stvm.method.proxy_loss import balanced_sample
from stvm.networks import build_network
from stvm.settings import Settings
from stvm.training.builder import build_adaptation


@pytest.mark.parametrize(
    ("balance", "floor", "each"),
    [
        ("rarest", 0, [1, 1, 1, 0]),
        ("rarest", 1, [1, 1, 1, 0]),
        ("rarest", 2, [6, 0, 6, 0]),
        ("rarest", 7, [8, 0, 0, 0]),
        ("rarest", 10, [0, 0, 0, 0]),
        ("repeat", 2, [8, 0, 8, 0]),
        ("repeat", 10, [0, 0, 0, 0]),
    ],
)
def test_a_class_below_the_floor_gives_none_and_sets_no_number(
    balance: str, floor: int, each: list[int]
) -> None:
    """Nine pixels of class 0, one of 1, six of 2; at most eight of each."""
    labels = torch.tensor([0] * 9 + [1] + [2] * 6).view(1, 4, 4)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    pixels = balanced_sample(mask, labels, 4, 8, balance, generator, floor)  # type: ignore[arg-type]
    assert torch.bincount(labels[pixels], minlength=4).tolist() == each


def test_without_a_floor_a_single_pixel_takes_part() -> None:
    labels = torch.tensor([[[0, 0, 1, 0]]])
    pixels = balanced_sample(labels >= 0, labels, 2, 8, "repeat", torch.Generator())
    assert torch.bincount(labels[pixels]).tolist() == [8, 8]


def test_a_step_tells_how_many_pixels_a_class_gave() -> None:
    counts = []
    for floor in (0, 40, 10_000):
        torch.manual_seed(0)
        source = build_network("small_deeplab", 16, 5)
        changes = {"channels": 16, "metric_floor": floor, "pixels_per_class": 1000}
        built = build_adaptation(Settings().replace(**changes), source, 5)
        images = torch.rand(2, 3, 32, 32)
        labels, confidence, _, _ = built.step.label(images)
        before = built.metric.proxies.detach().clone()  # type: ignore[union-attr]
        report = built.step(images, 1)
        thresholds = built.metric.thresholds.values  # type: ignore[union-attr]
        selected = torch.bincount(labels[confidence > thresholds[labels]], minlength=5)
        enough = selected[(selected > 0) & (selected >= floor)].tolist()
        assert int(report.metric_pixels) == min(enough, default=0)
        moved = not torch.equal(before, built.metric.proxies)  # type: ignore[union-attr]
        assert moved == bool(enough)
        counts.append(int(report.metric_pixels))
    assert 0 < counts[0] < 40 <= counts[1] and counts[2] == 0


def test_the_floor_names_trials_that_change_it_and_have_a_metric_network() -> None:
    assert Settings().replace(metric_floor=0).hash() == Settings().hash()
    assert Settings().replace(metric_floor=8).hash() != Settings().hash()
    off = {"mgs": False, "mocm": False}
    assert Settings().replace(metric_floor=8, **off).hash() == Settings().replace(**off).hash()
