"""The HTML page of a results folder, which needs no other file."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.page.recorded_studies import Recorded, read_results
from reports.page.sections import SECTIONS, build_sections
from reports.page.svg import style
from reports.page.trial_list import TrialGroup, list_trials
from reports.tables.chosen_studies import choose_studies
from stvm.files import refuse_other_file, write_whole
from stvm.records.manifest import Manifest
from stvm.records.record import RecordReader

_PAGE = Path(__file__).resolve().parent
TITLE = "STvM: measured results"


@dataclass(frozen=True)
class Link:
    """Target of a figure's link.

    Attributes:
        one: hash of the trial; empty for several trials.
        set: id of the list of trials; empty for a single trial.
    """

    one: str = ""
    set: str = ""


class Links:
    """Links from figures to the trials behind them; equal lists stand in the page once.

    Args:
        groups: all trials of the page.
    """

    def __init__(self, groups: Iterable[TrialGroup]) -> None:
        self._items = {item.entry.hash: item for group in groups for item in group.items}
        self._sets: dict[tuple[str, ...], str] = {}

    def __call__(self, trials: tuple[str, ...]) -> Link:
        known = tuple(dict.fromkeys(name for name in trials if name in self._items))
        if len(known) < 2:
            return Link(one=known[0] if known else "")
        return Link(set=self._sets.setdefault(known, f"set-{len(self._sets) + 1}"))

    @property
    def sets(self) -> list[dict[str, Any]]:
        """Every list of trials that a figure links to, in the order of first use."""
        return [
            {"id": name, "trials": [(t, self._items[t].label, self._items[t].miou) for t in trials]}
            for trials, name in self._sets.items()
        ]


def _in_order(studies: Sequence[Manifest]) -> list[Manifest]:
    """The study of each kind that was updated last, in the page's order; then the others."""
    places = {section.study: place for place, section in enumerate(SECTIONS)}
    seen: Counter[str] = Counter()
    keys = {}
    for study in studies:
        keys[study.study, study.base] = (seen[study.study], places.get(study.study, len(places)))
        seen[study.study] += 1
    return sorted(studies, key=lambda s: (*keys[s.study, s.base], s.study))


def _summary(recorded: Recorded, study: Manifest) -> dict[str, Any]:
    names = dict.fromkeys(trial.hash for trial in study.trials)
    counts = Counter(recorded.entries[name].status for name in names)
    return {
        "title": study.title,
        "base": study.base,
        "older": sum(other.title == study.title for other in recorded.studies) > 1,
        "preset": study.preset,
        "listed": len(names),
        **{status: counts[status] for status in ("done", "failed", "missing")},
        "updated": study.updated.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _rules(studies: Iterable[Manifest]) -> list[tuple[str, str]]:
    rules: dict[str, list[str]] = {}
    for study in studies:
        rules.setdefault(study.rule, []).append(study.title)
    return [(rule, "; ".join(dict.fromkeys(titles))) for rule, titles in rules.items()]


def _counts(recorded: Recorded) -> dict[str, int]:
    counts = Counter(entry.status for entry in recorded.entries.values())
    collapsed = sum(entry.collapsed for entry in recorded.entries.values())
    idle = sum(bool(entry.idle) for entry in recorded.entries.values())
    counted = {state: counts[state] for state in ("done", "failed", "missing")}
    return counted | {"collapsed": collapsed, "idle": idle}


def build_page(
    results: Path, bases: Sequence[str] = (), passed_over: list[str] | None = None
) -> str:
    """The whole page; the same results give the same text.

    Args:
        results: folder of records and manifests.
        bases: bases of studies to show in place of those updated last.
        passed_over: list for a line on each file that cannot be used; the page goes without it.

    Raises:
        StvmError: nothing to read, or, without `passed_over`, something unreadable.
    """
    reader = RecordReader(results, curves=True, passed_over=passed_over)
    recorded = read_results(reader)
    studies = _in_order(recorded.studies)
    groups = list_trials(recorded, studies)
    links = Links(groups)
    chosen = choose_studies(results, bases, reader) if studies or bases else None
    with style():
        sections = build_sections(recorded, chosen)
    script = (_PAGE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        title=TITLE,
        style=Markup((_PAGE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        counts=_counts(recorded),
        studies=[_summary(recorded, study) for study in studies],
        rules=_rules(studies),
        sections=sections,
        groups=groups,
        links=links,
    )


def refuse_other_page(out: Path) -> None:
    """Refuse to replace a file that is no page of this project.

    Raises:
        StvmError: it is none, or cannot be read.
    """
    sign = f"<title>{TITLE}</title>".encode()
    refuse_other_file(out, "report", lambda head: sign in head[:4096])


def write_page(page: str, out: Path) -> None:
    """Write the page whole or not at all; its folder is made where it does not exist.

    Raises:
        StvmError: it cannot be written, or another file is there.
    """
    refuse_other_page(out)
    write_whole(out, f"{page}\n".encode())
