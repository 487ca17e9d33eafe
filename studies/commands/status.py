"""The state of each study: trials that are recorded, running or failed, and why."""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from tabulate import tabulate

from studies.arguments import add_places
from studies.commands.lookup import manifest_paths, open_results
from studies.commands.running_work import epitaph, look_at_work, words
from stvm.errors import StvmError
from stvm.files import Unreadable
from stvm.records.manifest import Manifest, read_manifest
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.running import Sign

_LEAST_TITLE = 20
"""Least characters to which the titles of studies are wrapped."""


@dataclass(frozen=True)
class State:
    """The state of one trial.

    Attributes:
        state: state of the trial. A damaged record, or a sound one that cannot be read now, counts
            neither as recorded nor as missing.
        label: label of the trial for people.
        detail: reason of its failure, time of its start, news of its dead process, or fault of its
            record.
        collapsed: its student came to predict few classes.
        sign: last message of the process that works or worked on it; None if there is none.
        idle: its parts that were on and did nothing.
    """

    state: Literal["done", "failed", "running", "damaged", "unreadable", "missing"]
    label: str
    detail: str = ""
    collapsed: bool = False
    sign: Sign | None = None
    idle: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """A task that ended without a record."""

    label: str
    detail: str


@dataclass(frozen=True)
class Overview:
    """All that is known of a results folder.

    Attributes:
        states: state of each trial that is listed, recorded or running, by hash.
        manifests: manifests of its studies.
        troubles: troubles by hash.
        unreadable: one line for each manifest or lock that cannot be used.
        sources: source models that are trained, or whose process died, by name.
    """

    states: dict[str, State]
    manifests: tuple[Manifest, ...]
    troubles: dict[str, Trouble]
    unreadable: tuple[str, ...]
    sources: dict[str, State]


def look(results: Results) -> Overview:
    """Read everything and change nothing."""
    manifests, unreadable = _manifests(results)
    starts = _starts(results.root / "events.jsonl")
    labels = {name: str(start.get("variant", "")) for name, start in starts.items()}
    for manifest in manifests:
        labels |= {trial.hash: trial.label() for trial in manifest.trials}
    states = {name: _recorded(results, name, labels) for name in results.names()}
    at_work = look_at_work(results, states)
    for name, sign in at_work.running.items():
        since = sign.since if sign else starts.get(name, {}).get("time", "")
        states[name] = State("running", labels.get(name, ""), since, sign=sign)
    for name, sign in at_work.interrupted.items():
        label = labels.get(name) or sign.label
        states[name] = State("missing", label, epitaph(sign), sign=sign)
    for name in (trial.hash for manifest in manifests for trial in manifest.trials):
        states.setdefault(name, State("missing", labels[name]))
    troubles = {
        path.stem: Trouble(
            labels.get(path.stem, ""), f"{results.last_error(path.stem) or 'no message'} ({path})"
        )
        for path in sorted((results.root / "errors").glob("*.txt"))
        if path.stem not in states or states[path.stem].state == "missing"
    }
    sources = {
        name: State("running", sign.label, sign.since, sign=sign)
        for name, sign in at_work.sources.items()
    } | {
        name: State("missing", sign.label, epitaph(sign), sign=sign)
        for name, sign in at_work.dead_sources.items()
    }
    wrong = (*unreadable, *at_work.unreadable, *results.strays())
    return Overview(states, manifests, troubles, wrong, sources)


def _manifests(results: Results) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    manifests = []
    unreadable: list[str] = []
    for path in manifest_paths(results):
        with going_on(unreadable):
            manifests.append(read_manifest(path, empty=True))
    return tuple(manifests), tuple(unreadable)


def _recorded(results: Results, name: str, labels: dict[str, str]) -> State:
    try:
        record = results.read(name)
    except Unreadable as error:
        return State("unreadable", labels.get(name, ""), str(error))
    except StvmError as error:
        return State("damaged", labels.get(name, ""), str(error))
    if record is None:
        return State("missing", labels.get(name, ""))
    label = labels.get(name) or record.variant
    if not record.is_done:
        return State("failed", label, record.reason)
    return State("done", label, collapsed=record.collapsed, idle=record.idle)


def _starts(path: Path) -> dict[str, dict[str, Any]]:
    """The last start of each trial; a line cut by a kill is passed over."""
    starts = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            event = orjson.loads(line)
            if event["event"] == "start":
                starts[event["hash"]] = event
        except (ValueError, TypeError, KeyError):
            continue
    return starts


def count(states: Iterable[State]) -> dict[str, int]:
    """Trials by state; recorded are done and failed ones."""
    states = list(states)
    by_state = Counter(state.state for state in states)
    return {
        "trials": len(states),
        "recorded": by_state["done"] + by_state["failed"],
        "failed": by_state["failed"],
        "running": by_state["running"],
        "damaged": by_state["damaged"],
        "unreadable": by_state["unreadable"],
        "missing": by_state["missing"],
        "collapsed": sum(state.collapsed for state in states),
    }


def counts(overview: Overview) -> dict[str, Any]:
    """Counts of each of `studies`, of trials that are `unlisted`, and the `total`, each once."""
    states = overview.states
    listed = {m.name: {trial.hash for trial in m.trials} for m in overview.manifests}
    unlisted = states.keys() - set().union(*listed.values())
    return {
        "studies": [
            {"study": m.name, "title": m.title} | count(states[name] for name in listed[m.name])
            for m in overview.manifests
        ],
        "unlisted": count(states[name] for name in unlisted),
        "total": count(states.values()),
    }


def as_dict(overview: Overview) -> dict[str, Any]:
    """The overview for scripts: the counts, and the state of each trial by hash."""
    return counts(overview) | {
        "trials": {name: asdict(state) for name, state in sorted(overview.states.items())},
        "troubles": {name: asdict(trouble) for name, trouble in overview.troubles.items()},
        "unreadable": list(overview.unreadable),
        "sources": {name: asdict(state) for name, state in sorted(overview.sources.items())},
    }


def as_text(overview: Overview, columns: int | None = None) -> str:
    """The overview for people: a table of the studies, then the trials that need attention.

    Args:
        overview: overview of the results.
        columns: width of the terminal, to which titles are wrapped; None wraps nothing.
    """
    parts = [_table(counts(overview), columns)]
    states = sorted(overview.states.items())
    under_way = sorted(overview.sources.items()) + states
    parts += _section(
        "running",
        [
            (name, state.label, *(words(state.sign) if state.sign else (f"since {state.detail}",)))
            for name, state in under_way
            if state.state == "running"
        ],
    )
    parts += _section(
        "interrupted",
        [(n, s.label, s.detail) for n, s in under_way if s.state == "missing" and s.detail],
    )
    for kind in ("failed", "damaged", "unreadable"):
        lines = [(name, s.label, s.detail) for name, s in states if s.state == kind]
        parts += _section(kind, lines)
    parts += _section(
        "collapsed: the student came to predict few classes",
        [(name, state.label, "") for name, state in states if state.collapsed],
    )
    parts += _section(
        "a part that is on did nothing",
        [(name, state.label, "; ".join(state.idle)) for name, state in states if state.idle],
    )
    parts += _section(
        "ended in trouble, without a record",
        [(name, t.label, t.detail) for name, t in overview.troubles.items()],
    )
    parts += _section("cannot be read", [(line,) for line in overview.unreadable])
    return "\n\n".join(parts)


def _table(data: dict[str, Any], columns: int | None) -> str:
    """The table of the studies, its titles wrapped to the terminal."""
    rows = [(study["study"], study) for study in data["studies"]]
    if data["unlisted"]["trials"]:
        rows.append(("in no study", data["unlisted"]))
    rows.append(("all, each once", data["total"]))
    rare = ("damaged", "unreadable", "collapsed")
    shown = [key for key in data["total"] if key not in rare]
    shown += [key for key in rare if data["total"][key]]
    table = [
        [name, *(counted[key] for key in shown), counted.get("title")] for name, counted in rows
    ]
    heads = ["study", *shown, ""]
    whole: str = tabulate(table, heads, tablefmt="simple")
    over = max(map(len, whole.splitlines())) - columns if columns else 0
    if over <= 0:
        return whole
    longest = max(len(counted.get("title") or "") for _, counted in rows)
    widths = [None] * (len(heads) - 1) + [max(_LEAST_TITLE, longest - over)]
    return str(tabulate(table, heads, tablefmt="simple", maxcolwidths=widths))


def _section(head: str, lines: Sequence[tuple[str, ...]]) -> list[str]:
    if not lines:
        return []
    table = tabulate(lines, tablefmt="plain", disable_numparse=True)
    return [f"{head} ({len(lines)})\n" + "\n".join(f"  {row}" for row in table.splitlines())]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_places(parser, "--results")
    parser.add_argument("--json", action="store_true", help="every trial, for scripts")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    overview = look(open_results(options.results))
    if options.json:
        print(orjson.dumps(as_dict(overview), option=orjson.OPT_INDENT_2).decode())
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(as_text(overview, columns))
    return 0
