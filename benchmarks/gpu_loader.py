"""How fast target crops are loaded, against how fast the device takes a step with them.

Images of Cityscapes' size (2048x1024) as PNG, made smaller to 1024x512 and cropped to 512x512,
decoded anew each time: the published set is larger than what is kept in memory.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from gpu_rows import Row, noted
from gpu_steps import adaptation_of, free, in_turns, settings_of, source_of
from gpu_steps import batches as drawn
from PIL import Image
from torch.nn import functional as F

from stvm.data.crops import TargetCrops, batches
from stvm.data.folder import FolderImages
from stvm.settings import Settings
from stvm.training.device import computing

IMAGES = 8


def write_images(folder: Path, size: tuple[int, int]) -> None:
    """Pictures with smooth areas and grain, of which a PNG has a photograph's size."""
    generator = torch.Generator().manual_seed(0)
    target = folder / "train" / "images"
    target.mkdir(parents=True)
    for index in range(IMAGES):
        coarse = torch.rand(1, 3, size[0] // 32, size[1] // 32, generator=generator)
        smooth = 255 * F.interpolate(coarse, size, mode="bilinear")[0]
        grain = torch.randint(0, 6, size, generator=generator)
        pixels = (smooth + grain).clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(target / f"{index}.png", compress_level=1)


def seconds_a_batch(
    images: FolderImages, settings: Settings, workers: int, count: int, device: torch.device
) -> float:
    """Mean time between batches on the device, after the first."""
    training = settings.training
    size = (training.crop_height, training.crop_width)
    crops = TargetCrops(images, size, 0, count * training.batch)
    loaded = batches(crops, training.batch, workers, pinned=device.type == "cuda")
    next(loaded).to(device, non_blocking=True)
    started = time.perf_counter()
    for batch in loaded:
        batch.to(device, non_blocking=True).float()
    return (time.perf_counter() - started) / (count - 1)


def loader(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each number of loading processes: time of a batch over that of a step."""
    took: dict[str, float] = {}
    for way in ("float32", "bfloat16"):
        settings = settings_of("deeplabv3_resnet50", toy, precision=way)
        pixels = drawn(settings, 3 if toy else 8, device)
        with computing(settings.compute, device):
            settings, source = source_of(settings, pixels[0])
            (times,) = in_turns([adaptation_of(settings, source)], pixels, 1 if toy else 3)
        took[way] = statistics.median(times)
        free(device)
    with tempfile.TemporaryDirectory(prefix="stvm-images-") as folder:
        data = settings.data
        write_images(Path(folder), (2 * data.height, 2 * data.width))
        images = FolderImages(folder, "train", data.height, data.width, cache_bytes=0)
        cores = os.cpu_count() or 1
        for workers in (0,) if toy else [n for n in (0, 2, 4, 8) if n <= max(cores, 2)]:
            row: Row = {"loading processes": workers}
            with noted(row):
                wait = seconds_a_batch(images, settings, workers, 8 if toy else 40, device)
                row |= {
                    "a batch, ms": 1e3 * wait,
                    "images a second": settings.training.batch / wait,
                    **{f"over a step in {way}": wait / step for way, step in took.items()},
                }
            yield row
