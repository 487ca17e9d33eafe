"""Makes an adaptation task from one labelled data set: a clean source and a corrupted target.

    python -m stvm.data.corrupt SRC DST [--kinds fog low_light noise] [--severity 3] [--seed 0]

SRC is in the layout of `stvm.data.folder` with a labelled `train` split and, where it has them,
`val` and `test`. DST receives

    source/train  images and labels of one half of train, as they are
    target/train  images of the other half, corrupted, without labels
    target/val    SRC's val (else a share of train, in neither half), corrupted, with labels
    target/test   SRC's test (else the same images as target/val), corrupted, with labels

Street data sets are mostly frames of video, where neighbours are near-duplicates. So train is cut
into contiguous blocks, not alternately: names are grouped into sequences (the name without its
last number), and the sorted names of each sequence give their first part to the source, the next
to the target and, without a val split, the last to val. Every drive is then in both domains, which
differ in the corruption alone, and near-duplicates meet only at the cuts of each sequence.

The corruptions are those of the `albumentations` library. Kind and random state of an image depend
on the seed and the image's name only.
"""

import argparse
import hashlib
import importlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stvm.data.folder import image_paths, label_paths
from stvm.data.image_files import Uint8Array, read_rgb
from stvm.errors import StvmError

LIBRARY = "albumentations"
MANIFEST = "corruption.json"
SEVERITIES = (1, 2, 3, 4, 5)

# One entry per severity 1..5.
_FOG_CONTRAST = (-0.2, -0.35, -0.5, -0.6, -0.7)
_FOG_BRIGHTNESS = (0.17, 0.3, 0.42, 0.5, 0.6)
_FOG_DENSITY = (0.3, 0.4, 0.5, 0.6, 0.7)
_FOG_OPACITY = (0.05, 0.055, 0.06, 0.07, 0.08)
_LIGHT_LOSS = (-0.35, -0.45, -0.55, -0.65, -0.75)
_LIGHT_GAMMA_PERCENT = (100.0, 103.0, 106.0, 110.0, 115.0)
_LIGHT_NOISE_STD = (0.01, 0.015, 0.02, 0.025, 0.03)
_NOISE_STD = (0.05, 0.08, 0.12, 0.17, 0.24)


@dataclass(frozen=True)
class Corruption:
    """What is done to the target images.

    Attributes:
        kinds: kinds drawn from, each of `KINDS`.
        severity: 1 (slight) to 5 (heavy).
        seed: seed of the draws.

    Raises:
        StvmError: no kind, an unknown or repeated kind, or a severity not in 1..5.
    """

    kinds: tuple[str, ...]
    severity: int
    seed: int

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise StvmError(
                f"kinds {' '.join(self.kinds)!r}: give one or more of {' '.join(KINDS)}, each once"
            )
        if self.severity not in SEVERITIES:
            raise StvmError(f"severity {self.severity}: must be in 1..{SEVERITIES[-1]}")

    def kind(self, name: str) -> str:
        """Draws the kind of the image with this stem."""
        kinds = sorted(self.kinds)
        return kinds[self._draw(name, "kind") % len(kinds)]

    def apply(self, image: Uint8Array, name: str) -> Uint8Array:
        """Corrupts an RGB image (H, W, 3) with the kind and random state of its name."""
        library = load_library()
        steps = KINDS[self.kind(name)](library, self.severity - 1)
        compose = library.Compose(steps, seed=self._draw(name, "pixels") % 2**32)
        return np.asarray(compose(image=image)["image"], dtype=np.uint8)

    def _draw(self, name: str, purpose: str) -> int:
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Division:
    """Training images by use; the three are disjoint and together all of them."""

    source: list[Path]
    target: list[Path]
    val: list[Path]


def load_library() -> Any:
    """Imports the corruption library, without its look-up of newer versions on the network.

    Raises:
        StvmError: the library is not installed.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        return importlib.import_module(LIBRARY)
    except ImportError as error:
        raise StvmError(
            f"{LIBRARY} cannot be imported ({error}); run: pip install 'stvm[corrupt]'"
        ) from error


def divide(images: Sequence[Path], val_share: float) -> Division:
    """Cuts each sequence of names into contiguous blocks for source, target and val.

    Args:
        images: image files of the training split.
        val_share: share of each sequence kept for val, in [0, 1).
    """
    division = Division([], [], [])
    ordered = sorted(images, key=lambda path: (_sequence(path), path.stem))
    for _, group in groupby(ordered, key=_sequence):
        paths = list(group)
        kept = len(paths) - round(val_share * len(paths))
        larger_source = len(division.source) <= len(division.target)
        cut = (kept + 1) // 2 if larger_source else kept // 2
        division.source.extend(paths[:cut])
        division.target.extend(paths[cut:kept])
        division.val.extend(paths[kept:])
    return division


def make_task(source: Path, destination: Path, corruption: Corruption, val_share: float) -> None:
    """Writes the adaptation task; `corruption.json` is written last, when all else is there.

    Args:
        source: labelled data set in the folder layout.
        destination: new or empty folder.
        corruption: what is done to the target images.
        val_share: share of train used as val where the data set has no val split.

    Raises:
        StvmError: a destination with files in it, a val share not in (0, 1), too few images, or
            any fault of the data set named by `stvm.data.folder`.
    """
    if not 0.0 < val_share < 1.0:
        raise StvmError(f"val share {val_share}: must be above 0 and below 1")
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise StvmError(f"{destination}: is not an empty folder; name a new folder")
    load_library()
    train = image_paths(source, "train")
    label_paths(train)
    has_val = (source / "val").is_dir()
    division = divide(train, 0.0 if has_val else val_share)
    val = image_paths(source, "val") if has_val else division.val
    test = image_paths(source, "test") if (source / "test").is_dir() else val
    if not (division.source and division.target and val):
        raise StvmError(f"{source}: {len(train)} training images are too few to divide; add more")
    _write_clean(division.source, destination / "source" / "train")
    target = destination / "target"
    kinds = {
        "train": _write_corrupted(division.target, target / "train", corruption, labels=False),
        "val": _write_corrupted(val, target / "val", corruption, labels=True),
        "test": _write_corrupted(test, target / "test", corruption, labels=True),
    }
    manifest = _manifest(corruption, kinds, val_share, has_val, test is val)
    (destination / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _manifest(
    corruption: Corruption,
    kinds: dict[str, dict[str, str]],
    val_share: float,
    has_val: bool,
    test_is_val: bool,
) -> dict[str, object]:
    return {
        "library": LIBRARY,
        "library_version": version(LIBRARY),
        "kinds": sorted(corruption.kinds),
        "severity": corruption.severity,
        "seed": corruption.seed,
        "val_share_of_train": 0.0 if has_val else val_share,
        "test_is_val": test_is_val,
        "target": kinds,
    }


def _write_clean(images: list[Path], split_folder: Path) -> None:
    _copy(images, split_folder / "images")
    _copy(label_paths(images), split_folder / "labels")
    print(f"{split_folder}: {len(images)} clean images with labels")


def _write_corrupted(
    images: list[Path], split_folder: Path, corruption: Corruption, labels: bool
) -> dict[str, str]:
    if labels:
        _copy(label_paths(images), split_folder / "labels")
    folder = split_folder / "images"
    folder.mkdir(parents=True)
    kinds: dict[str, str] = {}
    for path in images:
        pixels = corruption.apply(np.array(read_rgb(path)), path.stem)
        Image.fromarray(pixels).save(folder / f"{path.stem}.png")
        kinds[f"{path.stem}.png"] = corruption.kind(path.stem)
    drawn = list(kinds.values())
    counts = ", ".join(f"{drawn.count(kind)} {kind}" for kind in sorted(corruption.kinds))
    suffix = "with labels" if labels else "without labels"
    print(f"{split_folder}: {len(images)} corrupted images ({counts}) {suffix}")
    return kinds


def _copy(paths: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copyfile(path, folder / path.name)


def _sequence(path: Path) -> str:
    return re.sub(r"\d+$", "", path.stem)


def _fog(library: Any, level: int) -> list[Any]:
    """A veil over the whole image (contrast towards grey-white), then drifting patches."""
    contrast, brightness = _FOG_CONTRAST[level], _FOG_BRIGHTNESS[level]
    density, opacity = _FOG_DENSITY[level], _FOG_OPACITY[level]
    return [
        _exposure(library, brightness, contrast),
        library.RandomFog(fog_coef_range=(density, density), alpha_coef=opacity, p=1.0),
    ]


def _low_light(library: Any, level: int) -> list[Any]:
    """Less light reaches the sensor, whose own noise stays and so weighs more."""
    gamma = _LIGHT_GAMMA_PERCENT[level]
    return [
        _exposure(library, 0.0, _LIGHT_LOSS[level]),
        library.RandomGamma(gamma_limit=(gamma, gamma), p=1.0),
        _gaussian_noise(library, _LIGHT_NOISE_STD[level]),
    ]


def _noise(library: Any, level: int) -> list[Any]:
    return [_gaussian_noise(library, _NOISE_STD[level])]


def _exposure(library: Any, brightness: float, contrast: float) -> Any:
    return library.RandomBrightnessContrast(
        brightness_limit=(brightness, brightness), contrast_limit=(contrast, contrast), p=1.0
    )


def _gaussian_noise(library: Any, std: float) -> Any:
    return library.GaussNoise(std_range=(std, std), p=1.0)


KINDS: dict[str, Callable[[Any, int], list[Any]]] = {
    "fog": _fog,
    "low_light": _low_light,
    "noise": _noise,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stvm.data.corrupt",
        description="Make a clean source and a corrupted target from one labelled data set.",
    )
    parser.add_argument("src", type=Path, help="data set: <src>/<split>/images and labels")
    parser.add_argument("dst", type=Path, help="new folder; receives source/ and target/")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="default: all")
    parser.add_argument("--severity", type=int, default=3, help="1 (slight) to 5 (heavy)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--val-share", type=float, default=0.1, help="used where SRC has no val")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tool and returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        corruption = Corruption(tuple(given.kinds), given.severity, given.seed)
        make_task(given.src, given.dst, corruption, given.val_share)
    except OSError as error:
        print(f"error: cannot write {given.dst}: {error}; make room, remove it", file=sys.stderr)
        return 1
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
