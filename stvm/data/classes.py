"""The class list of a user's own labels: names, and the id of each class in the label files."""

from dataclasses import dataclass

from stvm.errors import StvmError

IGNORE_INDEX = 255
"""Value of pixels that belong to no class, in label files and in label maps."""
MAX_CLASS_ID = 254


@dataclass(frozen=True)
class ClassList:
    """The classes of a label folder; a class's train id is its position.

    Attributes:
        names: Class names, in train-id order.
        ids: Value of each class in the label files, in the same order.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names or len(self.names) != len(self.ids):
            raise StvmError(
                f"classes: {len(self.names)} names and {len(self.ids)} ids; give one id per name"
            )
        for name, class_id in zip(self.names, self.ids, strict=True):
            if not name:
                raise StvmError(f"classes: the name of id {class_id} is empty; give it a name")
            if not 0 <= class_id <= MAX_CLASS_ID:
                raise StvmError(
                    f"classes: id {class_id} of {name!r} is not in 0..{MAX_CLASS_ID}; "
                    f"label files hold 8-bit ids and {IGNORE_INDEX} means ignored"
                )
        _refuse_repeats("id", [str(class_id) for class_id in self.ids])
        _refuse_repeats("name", list(self.names))

    def __len__(self) -> int:
        return len(self.names)


def parse_classes(spec: str) -> ClassList:
    """Reads a class list.

    Args:
        spec: Text such as `road,sidewalk` (ids 0, 1, ...) or `7:road,8:sidewalk` (ids given).

    Returns:
        The classes in the order given.

    Raises:
        StvmError: An empty or repeated name, a repeated id, an id outside 0..254, or entries of
            which only some have an id.
    """
    entries = [entry.strip() for entry in spec.split(",")]
    with_id = [":" in entry for entry in entries]
    if any(with_id) and not all(with_id):
        bare = entries[with_id.index(False)]
        raise StvmError(
            f"classes: {bare!r} has no id but others have; write 'ID:NAME' for all or for none"
        )
    if not any(with_id):
        return ClassList(tuple(entries), tuple(range(len(entries))))
    pairs = [entry.split(":", 1) for entry in entries]
    ids = tuple(_class_id(left, entry) for (left, _), entry in zip(pairs, entries, strict=True))
    return ClassList(tuple(right.strip() for _, right in pairs), ids)


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
        raise StvmError(f"classes: {what} {repeated[0]} is given twice; give each {what} once")
