"""Makes an adaptation task from one labelled data set: a clean source and a corrupted target.

    python -m stvm.data.corrupt SRC DST [--kinds fog low_light noise] [--severity 3] [--seed 0]

SRC is in the layout of `stvm.data.folder`: a labelled split `train` and, if there are any, labelled
splits `val` and `test`. DST receives

    source/train  images and labels of one half of train, as they are
    target/train  images of the other half, corrupted, without labels
    target/val    SRC's val (else a share of train, in neither half), corrupted, with labels
    target/test   SRC's test (else the same images as target/val), corrupted, with labels

Street data sets are mostly frames of video, and neighbouring frames are nearly equal. So `train` is
cut into blocks of neighbours. Names are grouped into sequences (the name without its last number).
The sorted names of a sequence are cut into two blocks, one for the source and one for the target,
and a third for val if SRC has no split `val`. Every sequence is then in both domains, and nearly
equal frames are separated only at the cuts.

`stvm.data.corruptions` holds the corruptions themselves.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from stvm.data.corruptions import KINDS, LIBRARY, Corruption, load_library
from stvm.data.folder import image_paths, label_paths
from stvm.data.image_files import read_rgb
from stvm.data.path_hints import in_other_capitals
from stvm.errors import USER_ERRORS, StvmError, told_of
from stvm.files import refuse_within
from stvm.option_parser import OneLineParser

MANIFEST = "corruption.json"


@dataclass(frozen=True)
class Division:
    """Training images by their use; each image is in exactly one of the three lists."""

    source: list[Path]
    target: list[Path]
    val: list[Path]


def divide(images: Sequence[Path], val_share: float) -> Division:
    """Cuts each sequence of names into contiguous blocks for source, target and val.

    Args:
        images: Image files of the training split.
        val_share: Share of each sequence kept for val, in [0, 1).
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
    """Writes the adaptation task; `corruption.json` is written last, so it marks a whole task.

    Args:
        source: Labelled data set in the folder layout.
        destination: New or empty folder.
        corruption: Corruption of the target images.
        val_share: Share of train that becomes val if the data set has no split val.

    Raises:
        StvmError: A destination with files in it, or inside the data set, a val share outside
            (0, 1), too few images, or a fault of the data set (see `stvm.data.folder`).
    """
    if not 0.0 < val_share < 1.0:
        raise StvmError(f"val share {val_share}: must be above 0 and below 1")
    refuse_within(destination, "destination", [source])
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise StvmError(f"{destination}: is not an empty folder; name a new folder")
    for split in ("val", "test"):
        if named := in_other_capitals(source / split):
            raise StvmError(f"{source / split}: no such folder{named}")
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


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
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
    except USER_ERRORS as error:
        print(f"error: {told_of(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: cannot write {given.dst}: {error}; make room, remove it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
