"""The work that runs or was interrupted, from locks and from files of the processes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stvm.durations import duration
from stvm.files.locks import is_held
from stvm.records.checked_values import is_hash
from stvm.records.results import Results
from stvm.records.running import Sign, read_sign

SILENT_S = 600.0
"""Silence in seconds that is longer than any of a process that trains."""
_SOURCE = "source-"


@dataclass(frozen=True)
class AtWork:
    """Work in progress, and work that was interrupted.

    Attributes:
        running: hashes of trials that a living process works on, each with its sign.
        interrupted: trials whose process died before there was a record.
        sources: source models that are trained, by name.
        dead_sources: those whose process died.
        unreadable: one line for each lock that cannot be tried.
    """

    running: dict[str, Sign | None]
    interrupted: dict[str, Sign]
    sources: dict[str, Sign]
    dead_sources: dict[str, Sign]
    unreadable: tuple[str, ...]


def look_at_work(results: Results, recorded: Collection[str]) -> AtWork:
    """Try each lock and read each sign; a recorded trial is not looked at."""
    signs = {
        path.stem: sign
        for path in sorted((results.root / "running").glob("*.json"))
        if (sign := read_sign(path)) is not None
    }
    locks = sorted((results.root / "locks").glob("*.lock"))
    found = AtWork({}, {}, {}, {}, ())
    unreadable = []
    for path in locks:
        if not is_hash(path.stem) or path.stem in recorded:
            continue
        try:
            if is_held(path):
                found.running[path.stem] = signs.get(path.stem)
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror}: whether its trial runs is unknown")
    for name, sign in signs.items():
        if name.startswith(_SOURCE):
            trained = found.sources if _lives(sign) else found.dead_sources
            trained[name.removeprefix(_SOURCE)] = sign
        elif name not in found.running and name not in recorded and not _lives(sign):
            found.interrupted[name] = sign
    return AtWork(
        found.running, found.interrupted, found.sources, found.dead_sources, tuple(unreadable)
    )


def _lives(sign: Sign) -> bool:
    try:
        return is_held(Path(sign.lock))
    except OSError:
        return False


def words(sign: Sign, now: datetime | None = None) -> tuple[str, ...]:
    """Progress of a running task, its machine, its start, and a silence if there is one."""
    silent = ((now or datetime.now(UTC)) - datetime.fromisoformat(sign.seen)).total_seconds()
    heard = f"not heard of for {duration(silent)}" if silent > SILENT_S else ""
    return share(sign), f"on {sign.holder}", f"since {sign.since}", heard


def share(sign: Sign) -> str:
    """Iterations done, with their share; empty while it has not said."""
    if not sign.of:
        return ""
    return f"{sign.progress()}, {100 * sign.iteration / sign.of:.0f} %"


def epitaph(sign: Sign) -> str:
    """The last news of a task whose process died, and the remedy."""
    where = share(sign) or "before its first iteration was told"
    if sign.stopped:
        return (
            f"stopped by its user at {sign.stopped}: {where}; the study's command goes on with it"
        )
    return (
        f"its process on {sign.holder} died or was killed: {where}, last heard of {sign.seen}; "
        "the study's command goes on with it"
    )
