"""The class list of a user's own labels: names, and the ids of each class in the label files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stvm.errors import StvmError

IGNORE_INDEX = 255
"""Value of pixels that belong to no class, in label files and in label maps."""
MAX_CLASS_ID = 254
IGNORED = "-"
"""Name that stands for no class in a class list: pixels of these ids are ignored."""


@dataclass(frozen=True)
class ClassList:
    """The classes of a label folder; a class's train id is its position.

    Attributes:
        names: Class names, in train-id order.
        ids: Value of each class in the label files, in the same order.
        others: Further values in the label files, each with its train id; 255 if it is ignored.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    others: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.ids):
            raise StvmError(
                f"classes: {len(self.names)} names and {len(self.ids)} ids; give one id per name"
            )
        for name, class_id in zip(self.names, self.ids, strict=True):
            if not name:
                raise StvmError(f"classes: the name of id {class_id} is empty; give it a name")
        for class_id, name in self._named():
            if not 0 <= class_id <= MAX_CLASS_ID:
                raise StvmError(
                    f"classes: id {class_id} of {name!r} is not in 0..{MAX_CLASS_ID}; "
                    f"label files hold 8-bit ids and {IGNORE_INDEX} means ignored"
                )
        _refuse_repeats("id", [str(class_id) for class_id, _ in self._named()])
        _refuse_repeats("name", list(self.names))

    def _named(self) -> list[tuple[int, str]]:
        """Every listed id with the name of its class."""
        further = [(i, IGNORED if t == IGNORE_INDEX else self.names[t]) for i, t in self.others]
        return [*zip(self.ids, self.names, strict=True), *further]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def listed(self) -> set[int]:
        """All ids that label files may hold, beside 255."""
        return {class_id for class_id, _ in self._named()}

    def table(self) -> NDArray[np.uint8]:
        """Train id of each value in the label files, (256,); 255 for an ignored one."""
        table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        table[list(self.ids)] = np.arange(len(self), dtype=np.uint8)
        for class_id, train_id in self.others:
            table[class_id] = train_id
        return table


def parse_classes(spec: str, setting: str = "classes") -> ClassList:
    """Reads a class list.

    Args:
        spec: Text such as `road,sidewalk` (ids 0, 1, ...) or `7:road,8:sidewalk` (ids given).
            `8+9:vegetation` gives several ids to one class, and `3+12:-` ignores ids.
        setting: Setting that holds the text, for messages.

    Returns:
        The classes in the order given.

    Raises:
        StvmError: An empty or repeated name, a repeated id, an id outside 0..254, or entries of
            which only some have an id.
    """
    try:
        return _parsed(spec)
    except StvmError as error:
        raise StvmError(str(error).replace("classes", setting, 1)) from None


def _parsed(spec: str) -> ClassList:
    entries = [entry.strip() for entry in spec.split(",")]
    with_id = [":" in entry for entry in entries]
    if any(with_id) and not all(with_id):
        bare = entries[with_id.index(False)]
        raise StvmError(
            f"classes: {bare!r} has no id but others have; write 'ID:NAME' for all or for none"
        )
    if not any(with_id):
        return ClassList(tuple(entries), tuple(range(len(entries))))
    names: list[str] = []
    ids: list[int] = []
    others: list[tuple[int, int]] = []
    for entry in entries:
        left, _, name = entry.partition(":")
        first, *more = [_class_id(part, entry) for part in left.split("+")]
        if name.strip() == IGNORED:
            others += [(class_id, IGNORE_INDEX) for class_id in (first, *more)]
            continue
        others += [(class_id, len(names)) for class_id in more]
        names.append(name.strip())
        ids.append(first)
    return ClassList(tuple(names), tuple(ids), tuple(others))


def _class_id(text: str, entry: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise StvmError(
            f"classes: {text.strip()!r} in {entry!r} is not an integer id; write '7:road'"
        ) from None


def _refuse_repeats(what: str, values: list[str]) -> None:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        several = "; several ids of one class are one entry, as in 8+9:vegetation"
        raise StvmError(
            f"classes: {what} {repeated[0]} is given twice; give each {what} once"
            f"{several if what == 'name' else ''}"
        )
