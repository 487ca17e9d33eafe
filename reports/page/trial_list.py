"""List of trials in the page: settings and result of each, and the command that replays it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reports.page.recorded_studies import Entry, Recorded
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, Trial, command
from stvm.settings import MethodSettings, Settings
from stvm.settings.presets import PRESETS

_PARTS = ("procedure", "st", "aug", "mt", "mgs", "mocm")
_OWN_LINE = ("realisation", "seed")


@dataclass(frozen=True)
class TrialItem:
    """A trial in the page.

    Attributes:
        entry: trial with its record.
        label: row, realisation and seed.
        also: other rows with the same trial, a text for each study.
        miou: mIoU in per cent; empty unless the trial is done.
        facts: names and texts of the start, the device and the like.
        changed: names and texts of the settings that differ from the preset.
        others: names and texts of all further settings.
        command: command that replays the trial; for a missing one, that runs its study.
    """

    entry: Entry
    label: str
    also: tuple[str, ...]
    miou: str
    facts: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    command: str


@dataclass(frozen=True)
class TrialGroup:
    """Trials of a study; a trial stands in the first study that lists it.

    Attributes:
        title: heading.
        name: id in the page.
        items: trials in the order of the study.
    """

    title: str
    name: str
    items: tuple[TrialItem, ...]


def show(value: object) -> str:
    """Value of a setting as a command line takes it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def _expected(preset: str, parts: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """Settings by name of a trial with the preset's values and these parts."""
    changes = PRESETS[preset].changes if preset in PRESETS else {}
    try:
        return Settings().replace(**(changes | dict(parts))).canonical().flat()
    except StvmError:
        return Settings().flat() | changes


def _split(
    entry: Entry, preset: str
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Settings that differ from the preset's, and all others.

    A part that is off leaves its settings at their defaults, so the preset is compared with the
    same parts on; a part itself is compared with the part's default.
    """
    parts = tuple((p, entry.settings[p]) for p in _PARTS if p in entry.settings)
    expected = _expected(preset, parts)
    changes = PRESETS[preset].changes if preset in PRESETS else {}
    expected = expected | {
        p: changes.get(p, MethodSettings.model_fields[p].default) for p in _PARTS
    }
    changed: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name, value in entry.settings.items():
        differs = name not in _OWN_LINE and expected.get(name, name) != value
        (changed if differs else others).append((name, show(value)))
    return tuple(changed), tuple(others)


def _facts(entry: Entry) -> tuple[tuple[str, str], ...]:
    run, result = entry.run, entry.result
    facts = [(name, run.get(name)) for name in ("started", "device", "threads", "torch", "stvm")]
    facts += [(name, result.get(name)) for name in ("split", "evaluated", "iteration")]
    facts += [("source", str(run["source_sha256"])[:12])] if run.get("source_sha256") else []
    for score, value in (result.get("scores") or {}).items():
        facts.append((score.replace("_", " "), None if value is None else f"{value:.4g}"))
    return tuple((name, str(value)) for name, value in facts if value not in (None, ""))


def _command(results: Path, entry: Entry, study: str) -> str:
    """Command that replays a recorded trial, or runs the study of a missing one."""
    where = "" if str(results) == "results" else f" --results {shlex.quote(str(results))}"
    if entry.status == "missing":
        return f"{command(study)}{where}"
    return f"python -m studies replay {entry.hash}{where}"


def _item(recorded: Recorded, entry: Entry, cells: Sequence[tuple[Manifest, Trial]]) -> TrialItem:
    changed, others = _split(entry, cells[0][0].preset if cells else "")
    miou = f"{100 * float(entry.result['miou']):.1f}" if entry.status == "done" else ""
    return TrialItem(
        entry,
        cells[0][1].label(", ") if cells else entry.variant or entry.hash,
        _also(cells),
        miou,
        _facts(entry),
        changed,
        others,
        _command(recorded.root, entry, cells[0][0].study if cells else ""),
    )


def _cells(studies: Sequence[Manifest]) -> dict[str, list[tuple[Manifest, Trial]]]:
    """Study and listed trial of every row, by the hash of the trial."""
    found: dict[str, list[tuple[Manifest, Trial]]] = {}
    for study in studies:
        for trial in study.trials:
            found.setdefault(trial.hash, []).append((study, trial))
    return found


def _also(cells: Sequence[tuple[Manifest, Trial]]) -> tuple[str, ...]:
    """Other rows with the same trial, a text for each study."""
    rows: dict[str, list[str]] = {}
    for study, trial in cells[1:]:
        rows.setdefault(study.title, []).append(trial.variant)
    return tuple(f"{title}: {', '.join(names)}" for title, names in rows.items())


def list_trials(recorded: Recorded, studies: Sequence[Manifest]) -> tuple[TrialGroup, ...]:
    """Every trial once, in the first of `studies` that lists it; then trials of no study."""
    cells = _cells(studies)
    left = dict(recorded.entries)
    groups = []
    for study in studies:
        own = [
            left.pop(name) for name in dict.fromkeys(t.hash for t in study.trials) if name in left
        ]
        items = tuple(_item(recorded, e, cells[e.hash]) for e in own)
        groups.append(TrialGroup(study.title, f"{study.study}-{study.base}", items))
    items = tuple(_item(recorded, e, []) for e in left.values())
    groups.append(TrialGroup("Recorded trials that no study lists", "unlisted", items))
    return tuple(group for group in groups if group.items)
