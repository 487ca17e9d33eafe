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
from pathlib import Path
from typing import Any

import torch

from stvm.data.access import class_names, open_target_images
from stvm.data.crops import TargetCrops, batches
from stvm.errors import StvmError
from stvm.method.build import Adaptation, build_adaptation
from stvm.networks import SegmentationNetwork, build_network
from stvm.presets import find_preset
from stvm.settings import Settings, parse_assignments
from stvm.sources import source_path
from stvm.supervised import load_source

BARE = {"aug": False, "mgs": False, "mocm": False}
PARTS = ("label", "learn_metric", "weigh", "augment", "store", "paste", "update_teacher")


def load_or_draw(settings: Settings, cache: Path, device: torch.device) -> SegmentationNetwork:
    """The trained source model where the cache holds it, else random weights.

    Random weights predict few classes, and so bank and paste fewer patches.
    """
    path = source_path(settings, cache)
    if path.exists():
        return load_source(settings, path, device)
    torch.manual_seed(0)
    network = settings.network
    classes = len(class_names(settings.data))
    print(f"no source model {path}: random weights")
    return build_network(network.network, network.channels, classes).to(device)


def build(settings: Settings, source: SegmentationNetwork) -> Adaptation:
    """An adaptation of the source model."""
    torch.manual_seed(0)
    return build_adaptation(settings, source, len(class_names(settings.data)))


def crops(settings: Settings, steps: int, cache: Path, device: torch.device) -> list[torch.Tensor]:
    """Batches of target crops (N, 3, h, w) in [0, 1], loaded beforehand."""
    training = settings.training
    dataset = TargetCrops(
        open_target_images(settings.data, cache),
        (training.crop_height, training.crop_width),
        training.seed,
        steps * training.batch,
    )
    return [b.to(device).float() / 255 for b in batches(dataset, training.batch, workers=0)]


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
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        settings = find_preset(options.preset).settings(**parse_assignments(options.settings))
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = crops(settings, options.steps, options.cache, device)
    source = load_or_draw(settings, options.cache, device)
    full, bare = build(settings, source), build(settings.replace(**BARE), source)
    slow, floor = compare(full, bare, images, warm=options.steps // 5)
    ratios = sorted(a / b for a, b in zip(slow, floor, strict=True))
    low, high = ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]
    size = tuple(images[0].shape)
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
