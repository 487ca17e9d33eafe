"""The setting class_map as text, and the sentence on which classes stand for which.

An entry TARGET:SOURCE+SOURCE maps source classes to one target class; a bare name means that both
have this name. `-` stands for no class on either side. The text of a CSV file takes the file's
place, so that a trial's name depends on what the file holds, and a record can be read without it.
"""

import csv
import difflib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

NONE = "-"
"""Text that stands for no class."""
MARKS = (",", ":", "+")
"""Characters that part the text; a class whose name has one is given by its number."""

Entries = tuple[tuple[str, tuple[str, ...]], ...]
"""Target class and its source classes, in the order of the text."""

NAMED = {
    "camvid10": "road,sidewalk,building,fence,pole,traffic sign:traffic light+traffic sign,"
    "vegetation:vegetation+terrain,sky,person,car:car+truck+bus+train",
    "idd7": "drivable:road,non-drivable:sidewalk+terrain,living things:person+rider,"
    "vehicles:car+truck+bus+train+motorcycle+bicycle,"
    "road side objects:wall+fence+pole+traffic light+traffic sign,"
    "far objects:building+vegetation,sky",
    "synthia16": "road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,sky,"
    "person,rider,car,bus,motorcycle,bicycle",
    "crosscity13": "road,sidewalk,building,traffic light,traffic sign,vegetation,sky,person,rider,"
    "car,bus,motorcycle,bicycle",
}
"""Maps from Cityscapes' 19 classes, by name.

`camvid10` are the classes that CamVid (as SegNet has it) shares with Cityscapes. `idd7` is level 1
of the hierarchy of the India Driving Dataset (Varma et al. 2019), from the table `anue_labels.py`
of its tools: each class goes to the level-1 id of its counterpart, and the counterpart of
Cityscapes' terrain is "non-drivable fallback". `synthia16` and `crosscity13` are
the classes of the benchmarks.
"""


def plain_text(value: str) -> str:
    """The canonical text of a class map: a name in `NAMED`, or entries, without needless spaces.

    Args:
        value: Text, name, or path of a CSV file with the columns target and source.

    Raises:
        ValueError: A file that cannot be used, or a text that is no class map.
    """
    text = value.strip()
    if not text or text in NAMED:
        return text
    _refuse_place(text)
    _refuse_misspelt(text)
    entries = _of_file(Path(text)) if text.lower().endswith(".csv") else _of_text(text)
    _check(entries)
    return ",".join(_entry(target, sources) for target, sources in entries)


def _refuse_place(text: str) -> None:
    """Refuse the path of a folder, and of a file of another ending."""
    path, is_csv = Path(text), text.lower().endswith(".csv")
    # A class may have the name of a folder that lies here.
    if not is_csv and "/" not in text:
        return
    wanted = "give a CSV file (.csv) with the columns target and source"
    # Not by `Path.is_dir`, which raises an error where a map is too long for the name of a file.
    if os.path.isdir(text):
        raise ValueError(f"{path} is a folder: {wanted}")
    if os.path.isfile(text) and not is_csv:
        raise ValueError(f"{path} does not end in .csv: {wanted}")


def _refuse_misspelt(text: str) -> None:
    """Refuse a lone word, and no path, that looks like the name of a map."""
    near = difflib.get_close_matches(text.lower(), NAMED, n=1, cutoff=0.7)
    if near and not any(mark in text for mark in (*MARKS, ".")):
        raise ValueError(f"no such map: did you mean {near[0]!r}? there are {', '.join(NAMED)}")


def entries_of(text: str) -> Entries:
    """The entries of a canonical text."""
    return _of_text(NAMED.get(text, text))


def _entry(target: str, sources: Sequence[str]) -> str:
    return target if tuple(sources) == (target,) else f"{target}:{'+'.join(sources)}"


def _of_text(text: str) -> Entries:
    entries = []
    for part in text.split(","):
        target, colon, right = part.partition(":")
        sources = right if colon else target
        entries.append((target.strip(), tuple(name.strip() for name in sources.split("+"))))
    return tuple(entries)


def _of_file(path: Path) -> Entries:
    """The rows of a CSV file; rows of one target are one entry."""
    if not path.is_file():
        raise ValueError(f"no such file {path}: give a CSV file with the columns target and source")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path} ({error}): save it as UTF-8 text") from None
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in head else ",")
    rows.fieldnames = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    if not {"target", "source"} <= set(rows.fieldnames):
        raise ValueError(f"{path}: its first line must name the columns target and source")
    found: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        target, source = ((row[key] or "").strip() or NONE for key in ("target", "source"))
        for name in (target, source):
            if mark := next((mark for mark in MARKS if mark in name), None):
                raise ValueError(
                    f"{path}, line {number}: the name {name!r} has a '{mark}': give the number of "
                    "this class, counted from 0"
                )
        found.setdefault(target, []).append(source)
    if not found:
        raise ValueError(f"{path} has no row: give a target and a source class in each")
    return tuple((target, tuple(sources)) for target, sources in found.items())


def _check(entries: Entries) -> None:
    """Refuse empty names, classes given twice, and `-` beside a class."""
    targets = [target for target, _ in entries]
    sources = [name for _, names in entries for name in names if name != NONE]
    for target, names in entries:
        if not target or not all(names):
            raise ValueError(
                "an entry is empty: write TARGET:SOURCE+SOURCE, or a bare name for the same class "
                "on both sides"
            )
        if NONE in names and (len(names) > 1 or target == NONE):
            raise ValueError(
                f"entry {_entry(target, names)!r}: '-' stands for no class, alone on its side"
            )
        if any(":" in name for name in names):
            raise ValueError(
                f"entry {_entry(target, names)!r} has two colons: write TARGET:SOURCE+SOURCE"
            )
    for what, given in (("target", targets), ("source", sources)):
        if twice := next((name for name in given if given.count(name) > 1), None):
            raise ValueError(f"{what} class {twice!r} is given twice: keep one entry")


def sentence(
    source: Sequence[str],
    targets: Sequence[str | None],
    names: Sequence[str],
    by: str,
    rule: str,
    assumed: str = "",
) -> str:
    """The correspondence in words, without a full stop.

    Args:
        source: Names of the source model's classes.
        targets: Name of the target class of each; None for none.
        names: Names of the target's classes.
        by: Origin of the correspondence: "names" if equal names were matched.
        rule: Value of the setting `unmatched`.
        assumed: Origin of names that nothing gives; empty if they are given.
    """
    members = {
        name: [s for s, t in zip(source, targets, strict=True) if t == name] for name in names
    }
    how = ", matched by name" if by == "names" else ""
    parts = [
        f"classes: {len(source)} of the source model, {len(names)} of the target{how}; predictions "
        "are mapped before they are counted"
    ]
    parts += [assumed_in_words(assumed, source)] if assumed else []
    parts += [f"{n} from {in_words(m)}" for n, m in members.items() if m and m != [n]]
    if lost := [s for s, t in zip(source, targets, strict=True) if t is None]:
        counted = {
            "error": "a pixel predicted as such a class is an error of its true class",
            "ignored": "left out of the arg max",
        }
        parts.append(f"no class of the target: {in_words(lost)} ({counted.get(rule, rule)})")
    if empty := [name for name, m in members.items() if not m]:
        parts.append(f"no class of the source model: {in_words(empty)} (IoU 0)")
    return "; ".join(parts)


def assumed_in_words(assumed: str, source: Sequence[str]) -> str:
    """What is assumed of a source model without class names; empty if they are given.

    Args:
        assumed: Data set whose names are taken, or "target".
        source: Names that are taken.
    """
    if not assumed:
        return ""
    whose = "the target's" if assumed == "target" else f"those of {assumed}"
    return (
        f"the checkpoint does not name its {len(source)}, so they are taken for {whose} in this "
        f"order: {', '.join(source)} (source_classes=NAME,NAME,... names others)"
    )


def in_words(names: Iterable[str]) -> str:
    """Names as a list in a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
