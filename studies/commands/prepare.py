"""Check the folders of a source and a target, and keep their images at the training size.

Counts files against the official numbers, names what is missing, refuses what cannot be read, and
writes CACHE/<data set>/, from which training then reads. Stopped or killed, the same command goes
on where it was.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from studies.arguments import add_places, positive, preset_name
from studies.cli import print_errors
from stvm.data.images import evenly_spaced
from stvm.data.inspection import Files, sampled
from stvm.data.published.array_cache import DecodedArray
from stvm.data.published.cache_writer import Watch, check_room, fill, gigabytes, missing_items
from stvm.data.published.decode import Size
from stvm.data.published.decode_pool import Decoders
from stvm.data.published.published_images import source_part, target_part
from stvm.data.published.splits import DatasetSplit
from stvm.durations import duration
from stvm.errors import StvmError
from stvm.files import refuse_file
from stvm.settings import PUBLISHED, Settings, parse_assignments
from stvm.settings.presets import PRESETS, find_preset
from stvm.source_model.location import source_path

SAMPLED_LABELS = 64
"""Labels of a split that are looked at before anything is decoded."""
SAY_EVERY_S = 30.0
"""Seconds between lines of progress where nobody looks at a terminal."""
SOURCE_MEND = "; or give source_checkpoint=FILE, with which no source images are needed"


@dataclass(frozen=True)
class Need:
    """A split that a study reads.

    Attributes:
        role: name of the part for people.
        part: the split.
        size: height and width at which it is read.
        labelled: whether its labels are read too.
    """

    role: str
    part: DatasetSplit
    size: Size
    labelled: bool


def needs(settings: Settings, cache: Path) -> list[Need]:
    """The files that a study of these settings reads again and again.

    The source is left alone where its model is there already. Held-out source images are read
    once, and labels of target training images, which only the oracle reads, are not touched.

    Raises:
        StvmError: a root is not given.
    """
    data, split = settings.data, settings.training.eval_split
    size = (data.height, data.width)
    found = []
    model = source_path(settings, cache)
    if settings.source.source_checkpoint:
        absent = "" if model.is_file() else "; no such file yet, and a study needs it"
        print(f"source: not needed, as source_checkpoint={model} is given{absent}", flush=True)
    elif model.exists():
        print(f"source: not needed, as its model is trained: {model}", flush=True)
    else:
        found.append(Need("source", source_part(data, "train"), data.source_size(), True))
    found.append(Need("target", target_part(data, "train"), size, False))
    found.append(Need("target", target_part(data, split), size, True))
    return found


def check(need: Need, cache: Path) -> list[DecodedArray]:
    """Look for a split's files and say in a line how many there are; nothing is decoded.

    Returns:
        The arrays to be kept of it.

    Raises:
        StvmError: folders, images or labels are missing; the message says which.
    """
    part = need.part
    if need.labelled:
        part.check_labelled()
    images = part.images()
    stores = [DecodedArray(cache, part, "images", need.size, images)]
    found = f"{len(images):,} of {part.official:,} images"
    if need.labelled:
        found += f", {len(part.labels(images)):,} labels"
        stores.append(DecodedArray(cache, part, "labels", need.size, images))
    for store in stores:
        # Refuses an array that is whole by its index and damaged all the same.
        store.open()
    note = "" if len(images) == part.official else ": NOT the published number"
    if part.lacks_split_file:
        note += f"; no {part.layout.split_file}, all are for training"
    print(f"{part.title}, {need.role} {part.split}: {found} in {part.root}{note}", flush=True)
    return stores


def look_at_labels(need: Need, trust: bool, strict: bool) -> None:
    """Look at some labels of a split, in a few seconds, for ids that mean something else.

    Args:
        need: the split.
        trust: whether labels of another numbering are accepted.
        strict: whether one label that cannot be used is refused; else all must be so, and the
            others are named when they are decoded.

    Raises:
        StvmError: they cannot be right and are not to be trusted, or cannot be used.
    """
    images = need.part.images()
    rows = [images[row] for row in evenly_spaced(len(images), SAMPLED_LABELS)]
    labels, layout = need.part.labels(rows), need.part.layout.name
    what = f"{need.role} {need.part.split}"
    files = Files(what, "labels", tuple(rows), tuple(labels), layout=layout)
    faults, found = sampled(files)
    if faults and (strict or len(faults) == len(rows)):
        more = f" (and {len(faults) - 1} more of {len(rows)} labels looked at)"
        raise StvmError(f"{faults[0]}{more if len(faults) > 1 else ''}")
    if found is None:
        return
    slip, place = found
    if slip.certain and not trust:
        raise StvmError(f"{place}: {slip.text}; if they are right, add --trust-labels")
    print(f"warning: {place}: {slip.text}", flush=True)


def check_all(
    found: Sequence[Need], cache: Path, trust: bool = False, strict: bool = False
) -> list[DecodedArray] | None:
    """The results of `check` for all; None where one is refused, after all were looked at."""
    stores: list[DecodedArray] = []
    refused: dict[str, str] = {}
    for need in found:
        try:
            made = check(need, cache)
            if need.labelled and not made[-1].is_whole():
                look_at_labels(need, trust, strict)
            stores += made
        except StvmError as error:
            missing = need.role == "source" and not need.part.image_folder().is_dir()
            mend = SOURCE_MEND if missing else ""
            refused.setdefault(str(error), f"{error}{mend}")
    print_errors(refused.values())
    return None if refused else stores


@contextmanager
def watching(total: int) -> Iterator[Watch]:
    """Progress over all items: a bar on a terminal, a line now and then elsewhere."""
    if not (sys.stdout.isatty() and Console().is_terminal):
        yield _Lines(total)
        return
    columns = (TextColumn("decoded"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("", total=total)
        yield lambda more: bar.advance(task, more)


class _Lines:
    """Says how many are done, how many are left and how long that will take."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = self._said = time.monotonic()

    def __call__(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if now - self._said < SAY_EVERY_S and self._done < self._total:
            return
        self._said = now
        left = self._total - self._done
        to_go = duration((now - self._began) * left / self._done)
        rest = f", {left:,} left, about {to_go}" if left else f" in {duration(now - self._began)}"
        print(f"  {self._done:,} decoded{rest}", flush=True)


def show_sizes(stores: Sequence[DecodedArray]) -> None:
    """Print how large each array is, and what the disk has for what is missing.

    Raises:
        StvmError: too little room.
    """
    for store in stores:
        count = len(missing_items(store))
        state = f"{count:,} to decode" if count else "there already"
        print(f"  {store.folder}: {gigabytes(store.nbytes)}, {state}", flush=True)
    print(check_room(list(stores)), flush=True)


def write(stores: Sequence[DecodedArray], workers: int) -> list[str]:
    """Write what is missing of the arrays; a line for each file that cannot be used.

    Raises:
        StvmError: a reason that ends all.
    """
    todo = [len(missing_items(store)) for store in stores]
    faults: list[str] = []
    with watching(sum(todo)) as watch, Decoders(workers) as decoders:
        for store in stores:
            faults += fill(store, decoders, watch)
    return faults


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("settings", nargs="*", metavar="setting=value")
    parser.add_argument("--preset", type=preset_name, help=f"one of {', '.join(PRESETS)}")
    add_places(parser, "--cache")
    parser.add_argument(
        "--workers",
        type=positive,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes that decode (all cores)",
    )
    parser.add_argument(
        "--check", action="store_true", help="count, name and look at some labels; write nothing"
    )
    parser.add_argument(
        "--trust-labels",
        action="store_true",
        help="go on with labels whose ids look like another numbering",
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    changes = parse_assignments(options.settings)
    if options.preset is None and "dataset" not in changes:
        published = [name for name, p in PRESETS.items() if p.changes.get("dataset") in PUBLISHED]
        raise StvmError(f"say which data: --preset and one of {', '.join(published)}")
    settings = find_preset(options.preset or "paper").settings(**changes)
    if settings.data.dataset not in PUBLISHED:
        raise StvmError(
            f"dataset={settings.data.dataset} needs no preparing: choose a preset of, or set, "
            f"dataset={', '.join(PUBLISHED)}"
        )
    refuse_file(options.cache, "--cache")
    wanted = needs(settings, options.cache)
    stores = check_all(wanted, options.cache, options.trust_labels, strict=options.check)
    if stores is None:
        return 2
    show_sizes(stores)
    if options.check:
        return 0
    try:
        faults = write(stores, options.workers)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    print_errors(faults)
    if faults:
        raise StvmError(
            f"{len(faults)} files cannot be used: mend them and run again; what is decoded stays"
        )
    size = gigabytes(sum(store.nbytes for store in stores))
    print(f"prepared: {size} in {options.cache}; studies with --cache {options.cache} read it")
    return 0
