"""What stood an attack: small studies as commands, and the judgement of what they left."""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvm.records.results import Results

if TYPE_CHECKING:
    from optuna.study import Study

ROOT = Path(__file__).resolve().parents[1]

SMALL = {
    "source_images": 8,
    "target_images": 8,
    "eval_images": 4,
    "source_iterations": 4,
    "source_batch": 2,
    "channels": 16,
    "iterations": 200,
    "batch": 2,
    "n_f": 16,
    "crop_height": 32,
    "crop_width": 32,
    "lr": 0.001,
}
"""Trials of a few seconds; what they learn does not matter."""


def words(script: str, folder: Path, *more: str, **changes: Any) -> list[str]:
    """A study's command on small trials."""
    places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
    settings = [f"{name}={value}" for name, value in (SMALL | changes).items()]
    places += ["--keep-every", "1"]
    return [sys.executable, str(ROOT / "studies" / script), *places, *more, *settings]


def events(results: Path) -> list[dict[str, Any]]:
    """What the trials noted; a line cut short by a kill is left out."""
    path = results / "events.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def search_words(folder: Path, trials: int, **changes: Any) -> list[str]:
    """A search's command on small trials; one seed in its report."""
    return words("optuna_search.py", folder, "--trials", str(trials), "--seeds", "0", **changes)


def audit(results: Path, told: Iterable[str] = ()) -> tuple[int, int]:
    """Trials lost and trials started again after they had finished, printed with the rest.

    A trial has finished when that was noted, or when its record was written before it started:
    a kill may fall between the record and the note.

    Args:
        results: of the study.
        told: hashes of trials that another place has as finished.
    """
    manifests = [json.loads(p.read_text()) for p in sorted((results / "studies").glob("*.json"))]
    listed = {entry["hash"] for manifest in manifests for entry in manifest["trials"]}
    store = Results(results)
    recorded = {name for name in store.names() if store.read(name)}
    written = {name: store.record_path(name).stat().st_mtime for name in recorded}
    finished: set[str] = set()
    twice = starts = 0
    for event in events(results):
        name = event["hash"]
        if event["event"] == "start":
            starts += 1
            # Events have whole seconds, rounded down: a start in the record's second is no proof.
            began = datetime.fromisoformat(event["time"]).timestamp()
            twice += name in finished or began > written.get(name, math.inf)
        else:
            finished.add(name)
    lost = len((listed | finished | set(told)) - recorded)
    print(
        f"  trials listed {len(listed)}, recorded {len(recorded)}, starts {starts}, lost {lost}, "
        f"started again after finishing {twice}"
    )
    return lost, twice


@contextmanager
def kept_studies(results: Path) -> Iterator["list[Study]"]:
    """The studies in the one storage of a search; its file is closed at the end."""
    import optuna

    (file,) = (results / "searches").glob("*.db")
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    try:
        names = [study.study_name for study in optuna.get_all_study_summaries(storage)]
        yield [optuna.load_study(study_name=name, storage=storage) for name in names]
    finally:
        storage.remove_session()
        storage.engine.dispose()


def audit_search(results: Path) -> bool:
    """Whether records and Optuna's storage have the same trials, each once and none left running.

    Trials with equal settings share a record, so those are compared by the hash of the settings.
    """
    with kept_studies(results) as studies:
        trials = [trial for study in studies for trial in study.trials]
    states = Counter(trial.state.name for trial in trials)
    told = [t for t in trials if t.state.name in ("COMPLETE", "FAIL")]
    hashes = [str(t.user_attrs.get("hash", f"none of trial {t.number}")) for t in told]
    duplicates = len(hashes) - len(set(hashes))
    sound = audit(results, hashes) == (0, 0)
    print(
        f"  studies in the storage {len(studies)}, trials {dict(states)}, "
        f"RUNNING left {states['RUNNING']}, duplicate settings {duplicates}"
    )
    return sound and len(studies) == 1 and not states["RUNNING"] and not duplicates
