"""Trials on the folders `sim` and `real` of the current folder, and their names."""

import hashlib
from pathlib import Path
from typing import Any

from stvm.data.fingerprints import Contents
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.schema import Run
from stvm.settings import Settings
from stvm.trial.recorded_name import named
from tests.helpers.tiny_settings import tiny

OFF: dict[str, Any] = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
FOLDER = {"dataset": "folder", "classes": "7:road,8:sidewalk", "height": 32, "width": 48}


def on(source: str = "sim", target: str = "real", **changes: Any) -> Settings:
    return tiny(**FOLDER, source_root=source, target_root=target, **changes)


def name(settings: Settings, results: Path = Path("results")) -> str:
    return named(settings, Results(results), Contents(Path("cache"))).hash()


def older_name(settings: Settings, target_train: bool) -> Record:
    """A record as earlier versions wrote it: named by paths, made from all files that lie there."""
    folders = [Path("sim/train"), Path("sim/val"), Path("real/test")]
    folders += [Path("real/train/images")] if target_train else []
    whole = hashlib.sha256()
    for number, folder in enumerate(folders):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            line = f"{number} {path.relative_to(folder)} {path.stat().st_size}\n"
            whole.update(line.encode())
    run: Run = {"images_sha256": whole.hexdigest()}
    flat = settings.flat()
    return Record(settings.hash(), "done", flat, {"miou": 0.5}, run=run, variant="STvM")
