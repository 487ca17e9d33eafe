"""Values of a JSON object, checked as they are read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from stvm.errors import StvmError

T = TypeVar("T")
_HASH = re.compile(r"[0-9a-f]{12}")


def is_hash(name: str) -> bool:
    """Whether a text has the form of a trial's hash."""
    return bool(_HASH.fullmatch(name))


def field_of(data: Mapping[str, Any], name: str, kind: type[T], path: Path) -> T:
    """A field of a JSON object.

    Args:
        data: the object.
        name: name of the field.
        kind: type of its value.
        path: file of the object, for messages.

    Raises:
        StvmError: the field is absent or of another type.
    """
    value = data.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise StvmError(f"{path}: '{name}' is {value!r}, not of type {kind.__name__}")
    return value
