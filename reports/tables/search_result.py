"""Result of a search: its best setting beside the default, on seeds that it has not seen."""

from collections.abc import Mapping
from typing import Any

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    figure,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import Records, Row, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.table_spec import TableSpec
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command
from stvm.records.selection_scores import SELECTION_SCORES, SelectionScore
from stvm.statistics import Estimate, paired_difference

_ROWS = ("default", "best")


def _columns(label: str) -> tuple[Column, ...]:
    return (
        Column("setting", "left", "row"),
        Column("values", "left", "values"),
        *measured_columns(),
        *difference_columns("Δ to default"),
        Column(label, "right", "objective"),
    )


def _score(facts: Mapping[str, Any]) -> SelectionScore | None:
    return SELECTION_SCORES.get(str(facts.get("objective", "")))


def _judged(score: SelectionScore, row: Row) -> Cell:
    """Cell with the mean of the score over the report's trials, as the search shows it."""
    scale, digits = (100, 1) if score.oracle else (1, 4)
    return figure(row.estimate.mean, row.trials, scale=scale, digits=digits)


def _words(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()
    )


def _how(facts: Mapping[str, Any]) -> list[str]:
    score, states = _score(facts), facts.get("states")
    texts = []
    if score:
        texts.append(
            f"Chosen by {score.label}, {'higher' if score.higher_is_better else 'lower'} "
            f"is better; its column is the mean over the same trials. Sampler "
            f"{facts.get('sampler', 'not recorded')}."
        )
    if isinstance(states, Mapping):
        counts = ", ".join(f"{n} {state.lower()}" for state, n in states.items())
        texts.append(f"Trials in Optuna's storage: {counts}.")
    return texts


def sheet(manifest: Manifest, records: Records) -> Sheet | None:
    """The default and the best setting over the report's seeds; None where neither is listed."""
    reported = {trial: record for trial, record in records.items() if trial.variant in _ROWS}
    if not reported:
        return None
    pooled = pool(reported)
    rows = collect(pooled.records, names=_ROWS)
    default, best = (rows[name] for name in _ROWS)
    delta = difference(paired_difference(best.values, default.values), best, default)
    facts = manifest.facts
    score = _score(facts)
    judged = {name: Cell("") for name in _ROWS}
    if score:
        found = collect(
            pooled.records,
            score.value,
            _ROWS,
        )
        judged = {name: _judged(score, found[name]) for name in _ROWS}
    return Sheet(
        "search",
        notes.tuned_mark("Best of the search beside the default", pooled),
        notes.heading(manifest),
        manifest.rule,
        _columns(score.label if score else "objective"),
        (
            (Cell("default"), Cell(_words(facts.get("defaults"))), *measured_cells(default),
             *difference(Estimate(0), default), judged["default"]),
            (Cell("best"), Cell(_words(facts.get("best"))), *measured_cells(best), *delta,
             judged["best"]),
        ),
        notes=(
            *_how(facts),
            notes.pool_note(pooled, manifest.dataset),
            "Delta is the mean over pairs of equal realisation and seed, with the 95 % t interval.",
            *notes.study_notes(manifest, reported),
        ),
    )  # fmt: skip


def importance_sheet(manifest: Manifest) -> Sheet | None:
    """Share of each setting in the variation of the score; None where it is not known.

    Raises:
        StvmError: a share or a setting is no figure.
    """
    facts = manifest.facts
    shares, best, default = (facts.get(k) or {} for k in ("importances", "best", "defaults"))
    if not shares:
        return None
    if not all(isinstance(part, Mapping) and all(map(_is_figure, part.values()))
               for part in (shares, best, default)):  # fmt: skip
        raise StvmError(
            f"study {manifest.base}: 'importances', 'best' and 'defaults' of its facts must be "
            f"figures by setting; run `{command(manifest.study)}` again"
        )
    score = _score(facts)
    label = score.label if score else "the objective"
    return Sheet(
        "search_importances",
        f"Importance of each setting for {label}",
        notes.heading(manifest),
        "",
        (
            Column("setting", "left", "setting"),
            Column("importance", "right", "importance"),
            Column("default", "right", "default"),
            Column("best", "right", "best"),
        ),
        tuple(
            (Cell(name), figure(share, scale=1, digits=2),
             *(_setting(values.get(name)) for values in (default, best)))
            for name, share in sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        ),
        notes=(
            "Share of each setting in the variation of the objective over the search trials, as "
            "Optuna computes it; over few trials it says little.",
        ),
    )  # fmt: skip


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _setting(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(f"{value:g}", value)


def _build(chosen: ChosenStudies) -> list[Sheet | None]:
    manifest, records = chosen["search"]
    return [sheet(manifest, records), importance_sheet(manifest)]


TABLE = TableSpec("search", "search", _build)
