"""JSON objects on disk: read if their schema is known, written whole or not at all."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from stvm.errors import StvmError
from stvm.files.atomic_files import Unreadable, replacing, unreadable, writing

SCHEMA = 1


_MOVE = "move it away and run again"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the schema that this version reads: a record or a manifest.

    Raises:
        StvmError: there is no such file, or it is damaged.
        Unreadable: the schema is another one, or the file may be sound and cannot be read now.
    """
    data = find_json(path)
    if data is None:
        raise StvmError(f"cannot read {path}: there is no such file")
    return data


def find_json(path: Path) -> dict[str, Any] | None:
    """The object that `read_json` reads; None if there is no such file."""
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, MemoryError) as error:
        raise unreadable(path, error, _MOVE) from None
    if not isinstance(data, dict):
        raise StvmError(f"cannot read {path}: not a JSON object; {_MOVE}")
    if not isinstance(data.get("schema"), int):
        raise StvmError(f"cannot read {path}: it has no schema number; {_MOVE}")
    if data["schema"] != SCHEMA:
        raise Unreadable(
            f"{path}: written with schema {data['schema']}, and this version of stvm reads "
            f"{SCHEMA}: use the version that wrote it; the file is left as it is"
        )
    return data


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all: temporary file, fsync, rename.

    Raises:
        StvmError: no space left, or no permission.
    """
    text = json.dumps(data, indent=1, allow_nan=False) + "\n"
    with writing(path.parent), replacing(path) as temporary, open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
