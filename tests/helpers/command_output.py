"""Records and manifests of no real trial, and what a command says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from studies.__main__ import main

DIVERGING = {"lr": 1e30, "iterations": 8}
NAMES = [f"{digit}" * 12 for digit in "0123456789abcdef"]


def synthetic(name: str, miou: float | None = 0.5, **result: Any) -> dict[str, Any]:
    """A record of any trial; without a mIoU it is one that failed."""
    record: dict[str, Any] = {"schema": 1, "hash": name, "status": "done", "settings": {"seed": 1}}
    record |= {"result": {"miou": miou, "iou": [miou, None]} | result, "failure": None}
    if miou is None:
        failure = {"error": "loss is nan\nat iteration 3", "iteration": 3, "seed": 1}
        record |= {"status": "failed", "result": None, "failure": failure}
    return record | {"run": {"threads": 1, "seconds": 2.5}, "variant": f"row of {name[0]}"}


def put(root: Path, record: dict[str, Any]) -> Path:
    path = root / "records" / f"{record['hash']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def manifest(root: Path, study: str, rows: dict[str, str]) -> Path:
    """A study that lists hashes under rows."""
    entries = [
        {"hash": name, "row": row, "seed": 0, "realisation": 0, "tuned": False}
        for row, name in rows.items()
    ]
    path = root / "studies" / f"{study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kind, _, base = study.partition("-")
    head = {"schema": 1, "study": kind, "base": base, "preset": "demo", "rule": "the last one"}
    head |= {"title": f"title of {study}", "updated": "2026-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(head | {"trials": entries}))
    return path


def content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that must end with 2 says, in one line."""
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said
