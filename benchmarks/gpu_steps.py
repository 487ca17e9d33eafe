"""Full-size steps on the device: their time over the bare mean-teacher step, and their memory.

Weights and images are random, the weights spread over the classes, and every region is banked
(see `benchmarks/step.py`). The bare step labels with the mean teacher, trains the student on these
labels and moves the teacher; both run in turns, on the same images.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from gpu_rows import Row, noted
from step import BARE, load_or_draw
from torch import Tensor

from stvm.memory.estimate import ALLOWANCES, largest_bank, phases
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.device import computing

NETWORKS = ("deeplabv2_resnet101", "deeplabv3_resnet50")
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "tf32": {"precision": "tf32"},
    "bfloat16": {"precision": "bfloat16"},
    "channels_last": {"channels_last": True},
    "tf32, channels_last": {"precision": "tf32", "channels_last": True},
    "bfloat16, channels_last": {"precision": "bfloat16", "channels_last": True},
}
MIB = 2**20


def settings_of(network: str, toy: bool, **changes: Any) -> Settings:
    """Of the paper: batch 2 of 512x512, 19 classes; but that the teacher follows in every step."""
    classes, size, n_f = (5, 65, 16) if toy else (19, 512, 128)
    base: dict[str, Any] = {
        "dataset": "folder",
        "source_root": "none",
        "target_root": "none",
        "classes": ",".join(f"class {i}" for i in range(classes)),
        "network": "small_deeplab" if toy else network,
        "height": size,
        "width": 2 * size,
        "crop_height": size,
        "crop_width": size,
        "n_f": n_f,
        "ema_period": 1,
    }
    return Settings().replace(**(base | changes))


def batches(settings: Settings, count: int, device: torch.device) -> list[Tensor]:
    """Random images (N, 3, h, w) in [0, 1], the same on every machine."""
    training = settings.training
    shape = (count, training.batch, 3, training.crop_height, training.crop_width)
    drawn = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    return [batch.to(device).float() / 255 for batch in drawn.byte()]


def source_of(settings: Settings, image: Tensor) -> tuple[Settings, SegmentationNetwork]:
    """Random weights spread over the classes, and the settings to run with."""
    with redirect_stdout(StringIO()):
        return load_or_draw(settings, Path("no-source-model"), image)


def adaptation_of(settings: Settings, source: SegmentationNetwork) -> Adaptation:
    """From the source model, the same each time."""
    torch.manual_seed(0)
    return build_adaptation(settings, source, len(settings.data.classes.split(",")))


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_turns(adaptations: list[Adaptation], images: list[Tensor], warm: int) -> list[list[float]]:
    """Seconds of each adaptation's steps after the first `warm`, one step of each in turns."""
    taken: list[list[float]] = [[] for _ in adaptations]
    for number, batch in enumerate(images, start=1):
        for adaptation, times in zip(adaptations, taken, strict=True):
            wait(batch.device)
            start = time.perf_counter()
            adaptation.step(batch, number)
            wait(batch.device)
            times.append(time.perf_counter() - start)
    return [times[warm:] for times in taken]


def free(device: torch.device) -> None:
    """Give back what is no longer used."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def steps(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each network and way: ms a step, over the bare one, and over float32's."""
    for network in NETWORKS[:1] if toy else NETWORKS:
        plain = None
        for way, changes in list(WAYS.items())[:: 5 if toy else 1]:
            row: Row = {"network": "small_deeplab" if toy else network, "computing": way}
            with noted(row):
                row |= full_over_bare(settings_of(network, toy, **changes), device, toy)
                plain = plain or row["step, ms"]
                row["float32 step over it"] = plain / row["step, ms"]
            free(device)
            yield row


def full_over_bare(settings: Settings, device: torch.device, toy: bool) -> Row:
    """Times of steps with all parts and of bare ones."""
    images = batches(settings, 3 if toy else 12, device)
    with computing(settings.compute, device):
        settings, source = source_of(settings, images[0])
        both = [adaptation_of(one, source) for one in (settings, settings.replace(**BARE))]
        full, bare = in_turns(both, images, 1 if toy else 4)
    ratios = sorted(a / b for a, b in zip(full, bare, strict=True))
    return {
        "step, ms": 1e3 * statistics.median(full),
        "bare step, ms": 1e3 * statistics.median(bare),
        "over the bare step": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
    }


COMPILING_S = 280.0
"""Of this section; what would not be done by then is not begun."""


def compiled(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each network: the compiled step over the eager one, and over the bare one."""
    began, longest = time.perf_counter(), 0.0
    for network in NETWORKS[:1] if toy else NETWORKS[::-1]:
        for way in ("float32",) if toy else ("float32", "bfloat16"):
            row: Row = {"network": "small_deeplab" if toy else network, "computing": way}
            started = time.perf_counter()
            if started - began + longest > COMPILING_S:
                yield row | {"error": "no time was left"}
                continue
            with noted(row):
                settings = settings_of(network, toy, compile=not toy, precision=way)
                row |= compiled_over_eager(settings, device, toy)
            longest = max(longest, time.perf_counter() - started)
            free(device)
            yield row


def compiled_over_eager(settings: Settings, device: torch.device, toy: bool) -> Row:
    """Times of compiled, eager and bare eager steps."""
    images = batches(settings, 3 if toy else 10, device)
    with computing(settings.compute, device):
        settings, source = source_of(settings, images[0])
        eager = settings.replace(compile=False)
        chosen = (settings, eager, eager.replace(**BARE))
        three = [adaptation_of(one, source) for one in chosen]
        began = time.perf_counter()
        three[0].step(images[0], 1)
        wait(device)
        first = time.perf_counter() - began
        own, slow, bare = map(statistics.median, in_turns(three, images, 1 if toy else 3))
    return {
        "first step, s": first,
        "step, ms": 1e3 * own,
        "eager step, ms": 1e3 * slow,
        "bare eager step, ms": 1e3 * bare,
        "over the eager step": own / slow,
        "over the bare eager step": own / bare,
    }


def memory(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each network and way: the allocator's peak beside `stvm.memory.estimate`."""
    for network in NETWORKS[:1] if toy else NETWORKS:
        for way in ("bfloat16",) if toy else ("float32", "bfloat16", "channels_last"):
            row: Row = {"network": "small_deeplab" if toy else network, "computing": way}
            with noted(row):
                settings = settings_of(network, toy, **WAYS[way])
                # As of a trial that starts from a checkpoint: nothing but the step is looked at.
                estimated = phases(settings.replace(source_checkpoint="none"))
                found = next(phase for phase in estimated if phase.name == "adaptation")
                counted = found.counted - largest_bank(settings)
                counted -= found.parts["images of the watch"]
                row |= {"estimated, MiB": counted / MIB}
                measured, reserved, bank = peak(settings, device)
                if device.type == "cuda":
                    room = counted + found.lost + ALLOWANCES["workspaces of cuDNN and cuBLAS"]
                    row |= {
                        "allocated, MiB": (measured - bank) / MIB,
                        "reserved, MiB": reserved / MIB,
                        "patches banked, MiB": bank / MIB,
                        "allocated over estimated": (measured - bank) / counted,
                        "passed": measured - bank <= room,
                    }
            free(device)
            yield row


def peak(settings: Settings, device: torch.device) -> tuple[int, int, int]:
    """Bytes allocated and reserved at the peak of a step, and those of the banked patches."""
    images = batches(settings, 4, device)
    with computing(settings.compute, device):
        settings, source = source_of(settings, images[0])
        adaptation = adaptation_of(settings, source)
        adaptation.step(images[0], 1)
        free(device)
        for number, batch in enumerate(images[1:], start=2):
            adaptation.step(batch, number)
        wait(device)
    bank: Any = adaptation.step.bank
    kept = [t for buffer in bank.patches for patch in buffer for t in vars(patch).values()]
    size = sum(t.numel() * t.element_size() for t in kept if isinstance(t, Tensor))
    if device.type != "cuda":
        return 0, 0, size
    given = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return *given, size
