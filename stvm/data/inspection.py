"""Checks every image and label file that trials will read, before anything is trained.

Results are kept in CACHE/checked by path, size and time of change, so that a second start reads no
file again. Files that `prepare` has decoded are not checked again either: it checks them itself.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from stvm.data.classes import ClassList
from stvm.data.folder import checked_ids
from stvm.data.image_files import check_image
from stvm.data.label_encoding import Counts, Slip, own_slip, published_slip
from stvm.data.published.dataset_layouts import LAYOUTS
from stvm.data.published.decode import stored_ids
from stvm.data.published.decode_pool import Decoders
from stvm.durations import duration
from stvm.errors import StvmError
from stvm.files import write_whole

VERSION = 1
TRUSTED = "prepare them with --trust-labels"
MOST_FAULTS = 20
"""Number of unusable files after which the check stops."""
ALONE = 200
"""Number of files up to which one process is faster than starting several."""
SAY_FIRST_S, SAY_EVERY_S = 5.0, 30.0
"""Seconds until the first line of progress, and between later ones."""

Fact = dict[str, Any]
"""Result for one file: `turned` for an image, `counts` of the ids for a label."""


@dataclass(frozen=True)
class Files:
    """Image files or label files of one split.

    Attributes:
        what: Domain and split, for messages.
        kind: Kind of the checked files.
        images: Image files.
        labels: Label files in the same order; empty if images are checked.
        classes: Class list of a user's own labels; None for a published data set.
        layout: Name of the layout of a published data set; empty for a user's own.
    """

    what: str
    kind: Literal["images", "labels"]
    images: tuple[Path, ...]
    labels: tuple[Path, ...] = ()
    classes: ClassList | None = None
    layout: str = ""

    @cached_property
    def key(self) -> str:
        """Key under which the results are kept: content, place and way of the check."""
        classes: object = self.classes.ids if self.classes else None
        if self.classes and self.classes.others:
            classes = [self.classes.ids, self.classes.others]
        folder = str(self._read[0].parent.resolve())
        named = [VERSION, self.what, self.kind, folder, classes, self.layout]
        return sha256(orjson.dumps(named)).hexdigest()[:16]

    @property
    def _read(self) -> tuple[Path, ...]:
        return self.labels or self.images

    def checks(self) -> Iterator["FileCheck"]:
        """One check for each file."""
        for number, image in enumerate(self.images):
            label = self.labels[number] if self.labels else None
            yield FileCheck(image, label, self.classes, self.layout)


@dataclass(frozen=True)
class FileCheck:
    """Check of one file: of the label if there is one, else of the image."""

    image: Path
    label: Path | None
    classes: ClassList | None
    layout: str

    @property
    def name(self) -> str:
        """Name of the file in the kept results."""
        return str((self.label or self.image).absolute())

    def stamp(self) -> list[int]:
        """Size and time of change of the image and, if there is one, of the label.

        Raises:
            StvmError: The file is missing.
        """
        found = []
        for path in (self.image, self.label):
            if path:
                try:
                    state = path.stat()
                except OSError as error:
                    raise StvmError(f"{path}: {error.strerror}; copy the file again") from error
                found += [state.st_size, state.st_mtime_ns]
        return found


def check_file(check: FileCheck) -> tuple[FileCheck, Fact | str]:
    """The check with its result, or with the reason why the file cannot be used."""
    try:
        if check.label is None:
            return check, {"turned": check_image(check.image)}
        if check.classes:
            ids = checked_ids(check.label, check.image, check.classes)
        else:
            ids = stored_ids(LAYOUTS[check.layout], check.label, check.image)
        counts = np.bincount(ids.ravel(), minlength=256)
        return check, {"counts": {str(i): int(counts[i]) for i in np.flatnonzero(counts)}}
    except StvmError as error:
        return check, str(error)


def check_contents(files: Sequence[Files], cache: Path | None) -> list[str]:
    """Checks all files that were not checked before.

    Args:
        files: Files of all splits; repeated entries are checked once.
        cache: Folder that keeps the results; None keeps none.

    Returns:
        One line for each warning or remark.

    Raises:
        StvmError: Files that cannot be used, or labels that cannot be right.
    """
    lines = []
    for one in {one.key: one for one in files}.values():
        facts = _facts(one, cache)
        if slip := slip_of(one, facts):
            if slip.certain:
                way_on = f"; if they are right, {TRUSTED}" if one.layout else ""
                raise StvmError(f"{_place(one)}: {slip.text}{way_on}")
            lines.append(f"warning: {_place(one)}: {slip.text}")
        turned = sum(bool(fact.get("turned")) for fact in facts)
        if turned:
            lines.append(
                f"{_place(one)}: {turned:,} of {len(facts):,} images are turned by their EXIF "
                "orientation, as in viewers; their labels must fit the turned images"
            )
    return lines


def sampled(files: Files) -> tuple[list[str], tuple[Slip, str] | None]:
    """A line for each label that cannot be used; a likely mistake in the others and its place."""
    found = [fact for _, fact in map(check_file, files.checks())]
    facts = [fact for fact in found if not isinstance(fact, str)]
    slip = slip_of(files, facts) if facts else None
    place = f"{_place(files)}, {len(facts)} labels looked at"
    return [fact for fact in found if isinstance(fact, str)], (slip, place) if slip else None


def slip_of(files: Files, facts: Sequence[Fact]) -> Slip | None:
    """A likely mistake in the labels of a split; None if there is none."""
    if files.kind == "images":
        return None
    total: Counts = np.zeros(256, np.int64)
    for fact in facts:
        for number, count in fact["counts"].items():
            total[int(number)] += count
    if files.classes:
        return own_slip(total, files.classes)
    return published_slip(total, LAYOUTS[files.layout].ids)


def _place(files: Files) -> str:
    """The folder of the files, with domain and split."""
    return f"{os.path.commonpath([p.parent for p in files.labels or files.images])} ({files.what})"


def _facts(files: Files, cache: Path | None) -> list[Fact]:
    """The result for each file, from an earlier check or by reading it."""
    path = cache / "checked" / f"{files.key}.json" if cache else None
    known = _recall(path) if path else {}
    checks = list(files.checks())
    stamps = {check.name: check.stamp() for check in checks}
    todo = [
        check for check in checks if known.get(check.name, {}).get("stamp") != stamps[check.name]
    ]
    if todo:
        found: dict[str, Fact] = {}
        try:
            faults = _read(files, todo, found)
        finally:
            known |= {name: fact | {"stamp": stamps[name]} for name, fact in found.items()}
            if path and found:
                kept = {name: known[name] for name in stamps if name in known}
                write_whole(path, orjson.dumps(kept))
        if faults:
            more = f" (and {len(faults) - 1} more files)" if len(faults) > 1 else ""
            raise StvmError(f"{faults[0]}{more}")
    return [known[check.name] for check in checks]


def _recall(path: Path) -> dict[str, Fact]:
    try:
        remembered = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    if not isinstance(remembered, dict):
        return {}
    return {name: fact for name, fact in remembered.items() if isinstance(fact, dict)}


def _read(files: Files, todo: Sequence[FileCheck], found: dict[str, Fact]) -> list[str]:
    """Puts results into `found` by name; returns a line for each file that cannot be used."""
    faults: list[str] = []
    workers = len(os.sched_getaffinity(0)) if len(todo) > ALONE else 1
    tell = _Lines(f"{len(todo):,} {files.kind} of {files.what}", len(todo))
    with Decoders(workers, "end other programs") as decoders:
        for check, fact in decoders.each(check_file, iter(todo)):
            if isinstance(fact, str):
                faults.append(fact)
                if len(faults) == MOST_FAULTS:
                    break
            else:
                found[check.name] = fact
            tell(len(found) + len(faults))
    return faults


class _Lines:
    """Prints how many files are checked, now and then, if that takes long."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._began = time.monotonic()
        self._next = self._began + SAY_FIRST_S

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + SAY_EVERY_S
        to_go = duration((now - self._began) * (self._total - done) / done)
        print(f"checking {self._what}: {done:,} done, about {to_go} to go", flush=True)
