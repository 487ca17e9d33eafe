"""How much of the student's input still carries photometric noise once clean patches are pasted.

Patches are banked clean (patch_image=clean): whatever they cover has no noise any more. The share
of the pixels that no patch covers is counted in training, with the trial's own draws.

Command: python benchmarks/noise.py --n-mocm 3 10
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stvm.data.crops import TargetCrops, batches
from stvm.data.datasets import open_target_images
from stvm.settings import Settings, parse_assignments
from stvm.settings.presets import find_preset
from stvm.source_model.ensure import ensure_source
from stvm.source_model.loading import load_source
from stvm.training.adaptation import Training

Paste = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def counting(paste: Paste, shares: list[float]) -> Paste:
    """The same pasting, which also notes the share of pixels that no patch covers."""

    def counted(images: Tensor, labels: Tensor, reliability: Tensor) -> tuple[Tensor, ...]:
        # No patch has a reliability below 0: what is still -1 was not pasted over.
        mixed, mixed_labels, weights = paste(images, labels, torch.full_like(reliability, -1.0))
        free = weights < 0
        shares.append(float(free.float().mean()))
        return mixed, mixed_labels, torch.where(free, reliability, weights)

    return counted  # type: ignore[return-value]


def uncovered(settings: Settings, cache: Path) -> list[float]:
    """The share of each iteration."""
    device = torch.device("cpu")
    source = load_source(settings, ensure_source(settings, cache, device), device)
    images = open_target_images(settings.data, cache)
    training = Training(settings, source, images, images.labelling.num_classes)
    step: Any = training.adaptation.step
    bank = step.bank
    shares: list[float] = []
    bank.paste = counting(bank.paste, shares)
    told = settings.training
    size = (told.crop_height, told.crop_width)
    crops = TargetCrops(images, size, told.seed, told.iterations * told.batch)
    for iteration, pixels in enumerate(batches(crops, told.batch, 0), start=1):
        training.step(pixels.float() / 255, iteration)
        if iteration % 100 == 0:
            part = shares[-100:]
            print(f"  {iteration}: {100 * sum(part) / len(part):.1f} %", flush=True)
    return shares


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the share for each number of patches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-mocm", nargs="+", type=int, default=[3, 10], metavar="N")
    parser.add_argument("--realisation", type=int, default=100, metavar="N")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR")
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    options = parser.parse_intermixed_args(arguments)
    base = find_preset("demo").settings(**parse_assignments(options.settings))
    for number in options.n_mocm:
        settings = base.on_realisation(options.realisation).replace(n_mocm=number)
        method = settings.method
        print(f"n_mocm={number}, tau_mocm={method.tau_mocm:g}", flush=True)
        shares = uncovered(settings, options.cache)
        half = shares[len(shares) // 2 :]
        noisy = 1 - (1 - method.aug_probability) * (1 - method.blur_probability)
        free = sum(half) / len(half)
        print(
            f"  second half: {100 * free:.1f} % of the pixels are not pasted over; "
            f"{100 * free * noisy:.1f} % carry noise, as {100 * noisy:.0f} % of the images get any"
        )


if __name__ == "__main__":
    main()
