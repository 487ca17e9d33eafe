"""Class names in a folder of Hugging Face, read without torch."""

import json
from pathlib import Path
from typing import Any

from stvm.errors import StvmError, one_line


def class_names_of(folder: Path) -> tuple[str, ...]:
    """Class names in `id2label` of config.json; empty if they are numbered alone.

    Raises:
        StvmError: config.json is unreadable.
    """
    labels = read_object(folder / "config.json").get("id2label", {})
    names = tuple(str(labels.get(str(n), "")) for n in range(len(labels)))
    return names if all(names) and not any(n.startswith("LABEL_") for n in names) else ()


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is missing.

    Raises:
        StvmError: It is unreadable or holds no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise StvmError(f"cannot read {path}: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise StvmError(f"{path} holds no JSON object")
    return found
