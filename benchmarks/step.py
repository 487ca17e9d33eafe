"""`python benchmarks/step.py`: time of an STvM step over a bare mean-teacher step, and by part.

Both run on the same network and images, in turns, so that a busy machine slows both. The bare
step labels with the mean teacher, trains the student on these labels and moves the teacher: no
augmentation, no metric network, no patches.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stvm.data.access import class_names
from stvm.method.build import Adaptation, build_adaptation
from stvm.networks import build_network
from stvm.presets import find_preset
from stvm.settings import Settings, parse_assignments

BARE = {"aug": False, "mgs": False, "mocm": False}
PARTS = ("label", "learn_metric", "weigh", "augment", "store", "paste", "update_teacher")


def build(settings: Settings, device: torch.device) -> Adaptation:
    """An adaptation from random weights, which take the same time as trained ones."""
    torch.manual_seed(0)
    classes = len(class_names(settings.data))
    network = settings.network
    source = build_network(network.network, network.channels, classes).to(device)
    return build_adaptation(settings, source, classes)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(function: Callable[..., Any], spent: list[float], device: torch.device) -> Any:
    """`function`, noting how long each call takes."""

    def call(*args: Any) -> Any:
        wait(device)
        start = time.perf_counter()
        result = function(*args)
        wait(device)
        spent.append(time.perf_counter() - start)
        return result

    return call


def by_part(adaptation: Adaptation, images: list[torch.Tensor]) -> dict[str, float]:
    """Median seconds of each part of the step; the student is what remains."""
    step, device = adaptation.step, images[0].device
    spent: dict[str, list[float]] = defaultdict(list)
    for name in PARTS:
        owner: Any = step.bank if name in ("store", "paste") else step
        setattr(owner, name, timed(getattr(owner, name), spent[name], device))
    whole: list[float] = []
    run = timed(step, whole, device)
    for i, batch in enumerate(images, start=1):
        run(batch, i)
    parts = {name: statistics.median(spent[name]) for name in PARTS}
    return parts | {"student": statistics.median(whole) - sum(parts.values())}


def compare(
    full: Adaptation, bare: Adaptation, images: list[torch.Tensor], warm: int
) -> tuple[list[float], list[float]]:
    """Seconds of full and of bare steps, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    device = images[0].device
    for i, batch in enumerate(images, start=1):
        for adaptation, kept in zip((full, bare), times, strict=True):
            wait(device)
            start = time.perf_counter()
            adaptation.step(batch, i)
            wait(device)
            kept.append(time.perf_counter() - start)
    return times[0][warm:], times[1][warm:]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = find_preset(options.preset).settings()
    settings = settings.replace(**parse_assignments(options.settings))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = settings.training
    size = (training.batch, 3, training.crop_height, training.crop_width)
    images = [torch.rand(size, device=device) for _ in range(options.steps)]
    full, bare = build(settings, device), build(settings.replace(**BARE), device)
    slow, floor = compare(full, bare, images, warm=options.steps // 5)
    ratios = sorted(a / b for a, b in zip(slow, floor, strict=True))
    low, high = ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]
    print(f"preset {options.preset}, batch {size}, {device.type}, {options.threads} threads")
    print(f"bare mean-teacher step  {1e3 * statistics.median(floor):8.2f} ms")
    print(f"STvM step               {1e3 * statistics.median(slow):8.2f} ms")
    print(
        f"ratio                   {statistics.median(ratios):8.2f}    "
        f"(10 to 90 per cent: {low:.2f} to {high:.2f})"
    )
    for name, seconds in by_part(full, images).items():
        print(f"  {name:20s}  {1e3 * seconds:8.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
