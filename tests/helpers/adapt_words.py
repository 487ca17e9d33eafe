"""The words of an `adapt` command that takes a second, and what it writes."""

from pathlib import Path
from typing import Any

import orjson

NAMES = ("road", "tree", "sky")
SHORT = ("iterations=4", "n_f=8", "q_m=0.3", "tau_mocm=2", "metric_floor=0")


def words(photos: Path, weights: Path, out: Path, *more: str) -> list[str]:
    return ["adapt", str(photos), "--checkpoint", str(weights), "--out", str(out), *SHORT, *more]


def facts_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((out / "settings.json").read_bytes())
    return found
