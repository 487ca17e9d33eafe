"""Which class of the target each class of the source model stands for, many to one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from stvm.data.classes import parse_classes
from stvm.data.datasets import labelling_of
from stvm.data.usual_classes import USUAL, usual_set
from stvm.errors import StvmError, unknown
from stvm.settings import DataSettings
from stvm.settings.class_map import NONE, assumed_in_words, entries_of, sentence

Origin = Literal["same", "names", "map"]
_NAME_THEM = (
    "name them all in its order with source_classes=NAME,NAME,..., or give their numbers, from 0"
)


@dataclass(frozen=True)
class Correspondence:
    """The classes of the source model and of the target, and which stand for which.

    Attributes:
        source: Names of the source model's classes, in the order of its outputs.
        target: Names of the target's classes, in train-id order.
        targets: Train id of the target class of each source class; None for an unmatched one.
        by: Origin: the classes are the same, equal names were matched, or class_map was given.
        assumed: Origin of the source model's names, where nothing gives them: a data set of
            `USUAL`, or "target" for those of the target by position.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    targets: tuple[int | None, ...]
    by: Origin = "map"
    assumed: str = ""

    @property
    def is_same(self) -> bool:
        """Whether source model and target have the same classes, so that nothing is mapped."""
        return self.by == "same"

    @property
    def unmatched(self) -> tuple[int, ...]:
        """Numbers of the source classes that no target class has."""
        return tuple(i for i, target in enumerate(self.targets) if target is None)

    def members(self, target: int) -> tuple[int, ...]:
        """Numbers of the source classes of a target class."""
        return tuple(i for i, own in enumerate(self.targets) if own == target)

    def facts(self, rule: str) -> dict[str, Any]:
        """Entry of a record; `rule` is the value of the setting `unmatched`."""
        names = [None if t is None else self.target[t] for t in self.targets]
        facts = {"source": list(self.source), "target": names, "by": self.by, "unmatched": rule}
        return facts | ({"assumed": self.assumed} if self.assumed else {})

    def sentence(self, rule: str) -> str:
        """The correspondence in words; `rule` is the value of the setting `unmatched`."""
        facts = self.facts(rule)
        return sentence(self.source, facts["target"], self.target, self.by, rule, self.assumed)

    def remark(self, rule: str) -> str:
        """What people are told of it before a training; empty for the same classes by name."""
        if not self.is_same:
            return self.sentence(rule)
        told = assumed_in_words(self.assumed, self.source)
        return f"classes: {told}" if told else ""


def same_classes(names: Sequence[str]) -> Correspondence:
    """The correspondence of a source model that has the target's classes."""
    return Correspondence(tuple(names), tuple(names), tuple(range(len(names))), "same")


def map_classes(text: str, source: Sequence[str], target: Sequence[str]) -> Correspondence:
    """The correspondence that a class map describes.

    Args:
        text: Canonical text of the setting class_map.
        source: Names of the source model's classes.
        target: Names of the target's classes.

    Raises:
        StvmError: A class that is not there or is given twice, or a target class without entry.
    """
    targets: list[int | None] = [None] * len(source)
    seen: set[int] = set()
    given: set[int] = set()
    for target_text, source_texts in entries_of(text):
        entry = f"{target_text}:{'+'.join(source_texts)}"
        own = None if target_text == NONE else _number("target", target_text, target, entry)
        if own in given:
            raise StvmError(
                f"class_map: target class '{target[own or 0]}' is given twice: keep one"
            )
        given |= set() if own is None else {own}
        for name in source_texts:
            if name == NONE:
                continue
            number = _number("source", name, source, entry)
            if number in seen:
                raise StvmError(
                    f"class_map: source class '{source[number]}' is given twice: keep one"
                )
            seen.add(number)
            targets[number] = own
    for number, name in enumerate(target):
        if number not in given:
            raise StvmError(
                f"class_map: target class '{name}' has no source class: add {name}:SOURCE, or "
                f"{name}:- if the source model has none (its IoU is then 0)"
            )
    if set(targets) == {None}:
        raise StvmError("class_map: no target class has a source class: give TARGET:SOURCE,...")
    return Correspondence(tuple(source), tuple(target), tuple(targets), "map")


def _number(side: str, text: str, names: Sequence[str], entry: str) -> int:
    """Number of a class given by its name or, where no class has that name, by its number."""
    if text in names:
        return names.index(text)
    if (number := _as_number(text)) is not None:
        if number < len(names):
            return number
        raise StvmError(
            f"class_map: entry '{entry}': there is no {side} class {number}; they are numbered 0 "
            f"to {len(names) - 1} ({', '.join(names[:3])}, ...)"
        )
    raise StvmError(f"class_map: entry '{entry}': {unknown(f'{side} class', text, names)}")


def match_names(source: Sequence[str], target: Sequence[str]) -> Correspondence | None:
    """The correspondence of equal names; None if a target class has no equal."""
    if tuple(source) == tuple(target):
        return same_classes(target)
    if not set(target) <= set(source):
        return None
    places = {name: number for number, name in enumerate(target)}
    return Correspondence(tuple(source), tuple(target), tuple(map(places.get, source)), "names")


def find_correspondence(
    data: DataSettings, which: str, count: int, named: Sequence[str] = (), family: str = ""
) -> Correspondence:
    """The correspondence of a source model to the target of some settings.

    Args:
        data: Settings with class_map, source_classes and the target's classes.
        which: Name of the source model, for messages.
        count: Number of its classes.
        named: Names of its classes, if its file has them.
        family: Family of public checkpoints that its file belongs to.

    Raises:
        StvmError: Classes that do not correspond, or a class map that does not fit them.
    """
    target, assumed = labelling_of(data).class_names, ""
    if data.source_classes:
        named = _asked(data, which, count, named)
    elif not named:
        here = not data.class_map and count == len(target)
        assumed = "target" if here else usual_set(count, family)
        named = target if here else USUAL.get(assumed, ())
    if data.class_map:
        if not named:
            _refuse_unnamed(data.class_map, which, count)
        found = map_classes(data.class_map, named or _numbered(count), target)
    elif (matched := match_names(named, target)) is not None:
        found = matched
    else:
        raise _refusal(which, count, named, target)
    return replace(found, assumed=assumed)


def refuse_slips(text: str, target: Sequence[str], family: str) -> None:
    """Refuse a class map that fits no file without names, whatever its number of classes.

    Args:
        text: Canonical text of the setting class_map.
        target: Names of the target's classes.
        family: Family of public checkpoints.

    Raises:
        StvmError: A class that is not there or is given twice, or a target class without entry.
    """
    sources = [name for _, names in entries_of(text) for name in names if name != NONE]
    numbers = [number for name in sources if (number := _as_number(name)) is not None]
    names = {name for name in sources if _as_number(name) is None}
    if not names:
        map_classes(text, _numbered(max(numbers, default=0) + 1), target)
        return
    possible = [known for known in USUAL.values() if usual_set(len(known), family)]
    likely = max(possible, key=lambda known: len(names & {*known}))
    if not names & {*likely}:
        raise StvmError(
            f"class_map: source class '{min(names)}': the checkpoint does not name its classes: "
            f"{_NAME_THEM}"
        )
    map_classes(text, likely, target)


def _asked(data: DataSettings, which: str, count: int, named: Sequence[str]) -> tuple[str, ...]:
    """The names in source_classes, after a comparison with the source model."""
    names = parse_classes(data.source_classes, "source_classes").names
    if len(names) != count:
        raise StvmError(
            f"{which} has {count} classes, and source_classes names {len(names)}: name all, in the "
            "order of its outputs"
        )
    for number, (theirs, ours) in enumerate(zip(named, names, strict=False)):
        if theirs != ours:
            raise StvmError(
                f"{which}: class {number} is '{theirs}' in the file and '{ours}' in "
                "source_classes: leave source_classes out, or give the file's names"
            )
    return names


def _refuse_unnamed(text: str, which: str, count: int) -> None:
    """Refuse names of source classes in a class map, where nothing names those classes."""
    sources = [name for _, names in entries_of(text) for name in names if name != NONE]
    if name := next((n for n in sources if _as_number(n) is None), None):
        raise StvmError(
            f"class_map: source class '{name}': {which} does not name its {count} classes: "
            f"{_NAME_THEM}"
        )


def _as_number(text: str) -> int | None:
    """The number in `7` or `class 7`; None for a name."""
    digits = text.removeprefix("class ")
    return int(digits) if digits.isdecimal() else None


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


def _refusal(which: str, count: int, named: Sequence[str], target: Sequence[str]) -> StvmError:
    if count != len(target):
        return StvmError(
            f"{which} has {count} classes, and the data have {len(target)} "
            f"({', '.join(target[:3])}, ...): use a checkpoint of these classes, the data it was "
            "trained for, or class_map=TARGET:SOURCE+SOURCE,..."
        )
    pairs = enumerate(zip(named, target, strict=True))
    number, (theirs, ours) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return StvmError(
        f"{which}: class {number} is '{theirs}' in the file and '{ours}' in the data: give the "
        "classes in the order it was trained with, or class_map=TARGET:SOURCE,..."
    )
