"""`python benchmarks/step.py`: time of an STvM step over a bare mean-teacher step, and by part.

Both run on the same network and images, in turns, so that a busy machine slows both. The bare
step labels with the mean teacher, trains the student on these labels and moves the teacher: no
augmentation, no metric network, no patches. Beside the ratio of the times stands that of the
floating-point operations, counted in a step of each: a time ratio of at most 1.10 times it is what
is aimed at. Then the peak memory of a step, and what `python -m studies memory` estimates.

Without the trained source model the weights are random, spread over the classes, and every region
is banked; without the dataset the images are random. Both are said.
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
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from studies.arguments import preset_name
from stvm.data.crops import TargetCrops, batches
from stvm.data.datasets import open_target_images
from stvm.errors import StvmError
from stvm.memory.estimate import phases
from stvm.method.mixed_statistics import batch_norms
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings, parse_assignments
from stvm.settings.presets import find_preset
from stvm.source_model.loading import load_source, new_network
from stvm.source_model.location import source_path
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.device import computing

BARE = {"aug": False, "mgs": False, "mocm": False}
PARTS = ("label", "learn_metric", "to_reliability", "augment", "store", "paste", "update_teacher")
AIM = 1.10


def load_or_draw(
    settings: Settings, cache: Path, images: Tensor
) -> tuple[Settings, SegmentationNetwork]:
    """The trained source model where there is one, else random weights; with the settings to run.

    Random weights let values grow from layer to layer, and predict one class everywhere: batch
    norms take the statistics of an image, and the last bias is moved until each class has a like
    share of pixels. Their distances mean nothing: tau_mocm is set so that all are banked.
    """
    path = source_path(settings, cache)
    if path.exists():
        return settings, load_source(settings, path, images.device)
    print(f"no source model {path}: random weights, spread over the classes, tau_mocm=4")
    torch.manual_seed(0)
    network = new_network(settings).to(images.device)
    last = [m for m in network.classifier.modules() if isinstance(m, nn.Conv2d)][-1]
    with torch.no_grad():
        for norm in batch_norms(network):
            norm.momentum = 1.0
        network.train().logits(images)
        for norm in batch_norms(network):
            norm.momentum = 0.1
        logits = network.eval().logits(images[:1])
        if last.bias is not None:
            last.bias -= logits.mean((0, 2, 3))
    return settings.replace(tau_mocm=4.0) if settings.method.mocm else settings, network


def build(settings: Settings, source: SegmentationNetwork) -> Adaptation:
    """An adaptation of the source model, in its own classes."""
    torch.manual_seed(0)
    return build_adaptation(settings, source, source.architecture.num_classes)


def crops(settings: Settings, steps: int, cache: Path, device: torch.device) -> list[Tensor]:
    """Batches of target crops (N, 3, h, w) in [0, 1], loaded beforehand; random without a set."""
    training = settings.training
    size = (training.crop_height, training.crop_width)
    try:
        images = open_target_images(settings.data, cache)
    except StvmError as error:
        print(f"random images: {error}")
        generator = torch.Generator().manual_seed(0)
        shape = (steps, training.batch, 3, *size)
        drawn = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return [batch.to(device).float() / 255 for batch in drawn]
    dataset = TargetCrops(images, size, training.seed, steps * training.batch)
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


def by_part(adaptation: Adaptation, images: list[Tensor]) -> dict[str, float]:
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
    full: Adaptation, bare: Adaptation, images: list[Tensor], warm: int
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


def operations(adaptation: Adaptation, images: Tensor) -> int:
    """Floating-point operations of one step, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        adaptation.step(images, 1)
    return int(counter.get_total_flops())


def peak_memory(adaptation: Adaptation, images: Tensor) -> tuple[str, int | None]:
    """What was measured in one step, and bytes; None where the system does not tell."""
    if images.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(images.device)
        adaptation.step(images, 1)
        return "allocated by torch", torch.cuda.max_memory_allocated(images.device)
    what, status = "resident, of the process", Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5")
        adaptation.step(images, 1)
        peak = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
    except (OSError, StopIteration):
        return what, None
    return what, int(peak.split()[1]) * 1024


def report(options: argparse.Namespace, settings: Settings, device: torch.device) -> None:
    """Measure and print."""
    images = crops(settings, options.steps, options.cache, device)
    settings, source = load_or_draw(settings, options.cache, images[0])
    full, bare = build(settings, source), build(settings.replace(**BARE), source)
    counts = [operations(adaptation, images[0]) for adaptation in (full, bare)]
    slow, floor = compare(full, bare, images, warm=options.steps // 5)
    ratios = sorted(a / b for a, b in zip(slow, floor, strict=True))
    low, high = ratios[len(ratios) // 10], ratios[-len(ratios) // 10 - 1]
    ratio, flops = statistics.median(ratios), counts[0] / counts[1]
    size = tuple(images[0].shape)
    network, compute = settings.network.network, settings.compute.precision
    print(f"{network}, batch {size}, {device.type}, {options.threads} threads, {compute}")
    print(f"bare mean-teacher step  {1e3 * statistics.median(floor):9.2f} ms")
    print(f"STvM step               {1e3 * statistics.median(slow):9.2f} ms")
    print(f"ratio                   {ratio:9.3f}    (10 to 90 per cent: {low:.3f} to {high:.3f})")
    print(
        f"ratio of operations     {flops:9.3f}    "
        f"({counts[0] / 1e9:.2f} over {counts[1] / 1e9:.2f} GFLOP a step)"
    )
    print(f"time over operations    {ratio / flops:9.3f}    (aim: at most {AIM:.2f})")
    what, peak = peak_memory(full, images[0])
    shown = "unknown" if peak is None else f"{peak / 2**30:.2f} GiB"
    print(f"peak memory of a step   {shown:>9s}    ({what}; two adaptations lie there)")
    found = next(phase for phase in phases(settings) if phase.name == "adaptation")
    print(
        f"estimated               {found.counted / 2**30:5.2f} GiB    (of one, with a full patch "
        f"bank; {found.peak / 2**30:.2f} GiB with the allowances of a GPU)"
    )
    for name, seconds in by_part(full, images).items():
        print(f"  {name:20s}  {1e3 * seconds:9.2f} ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", type=preset_name, default="demo")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        settings = find_preset(options.preset).settings(**parse_assignments(options.settings))
        with computing(settings.compute, device):
            report(options, settings, device)
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
