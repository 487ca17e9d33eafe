"""What a search found, as a sheet: its best setting beside the default, on seeds of their own."""

from collections.abc import Mapping
from typing import Any

from reports import notes
from reports.cells import difference, difference_columns, measured_cells, measured_columns
from reports.manifests import Manifest
from reports.paired import Estimate, paired
from reports.rows import Records, collect, pool
from reports.sheet import Cell, Column, Sheet
from stvm.objectives import OBJECTIVES

_ROWS = ("default", "best")
_COLUMNS = (
    Column("setting", "left", "row"),
    Column("values", "left", "values"),
    *measured_columns(),
    *difference_columns("Δ to default"),
)


def _words(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()
    )


def _how(facts: Mapping[str, Any]) -> list[str]:
    name = str(facts.get("objective", ""))
    label = OBJECTIVES[name].label if name in OBJECTIVES else name
    states = facts.get("states")
    texts = [f"Chosen by {label}, sampler {facts.get('sampler', 'not recorded')}."] if name else []
    if isinstance(states, Mapping):
        counts = ", ".join(f"{n} {state.lower()}" for state, n in states.items())
        texts.append(f"Trials in Optuna's storage: {counts}.")
    return texts


def sheet(manifest: Manifest, records: Records) -> Sheet | None:
    """The best setting and the default over the report's seeds; None where neither is listed."""
    reported = {trial: record for trial, record in records.items() if trial.row in _ROWS}
    if not reported:
        return None
    pooled = pool(reported)
    rows = collect(pooled.records, names=_ROWS)
    default, best = (rows[name] for name in _ROWS)
    delta = difference(paired(best.values, default.values), best, default)
    facts = manifest.facts
    return Sheet(
        "search",
        notes.tuned_mark("Best of the search beside the default", pooled),
        notes.heading(manifest),
        manifest.rule,
        _COLUMNS,
        (
            (Cell("default"), Cell(_words(facts.get("defaults"))), *measured_cells(default),
             *difference(Estimate(0), default)),
            (Cell("best"), Cell(_words(facts.get("best"))), *measured_cells(best), *delta),
        ),
        notes=(
            *_how(facts),
            notes.pool_note(pooled, manifest.dataset),
            "Delta is the mean over pairs of equal realisation and seed, with the 95 % t interval.",
            *notes.study_notes(manifest, reported),
        ),
    )  # fmt: skip
