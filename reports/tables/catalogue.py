"""All tables of a results folder as sheets, from which every format is made."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from reports.sheets.rows import Records
from reports.sheets.sheet import Sheet
from reports.tables import (
    fig1,
    per_class,
    scenario_rows,
    score_ranking,
    search_result,
    table1,
    table3,
    table4,
    table5,
    table6,
    table7,
)
from reports.tables.scenario_rows import Part
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command, find_manifests, newest, read_manifest
from stvm.records.record import RecordReader

KINDS = ("ablation", "hparam_grid", "variance", "silhouette", "pseudo_labels", "search")
"""Kinds of studies of which one makes a table; Tables I to III are made of several."""
STUDY = {
    **dict.fromkeys(scenario_rows.SCENARIOS.values(), scenario_rows.STUDY),
    "4": "ablation",
    "5": "hparam_grid",
    "6": "variance",
    "7": "silhouette",
    "fig1": "pseudo_labels",
    "search": "search",
}
"""Kind of study of each table; the scores are of every study."""
TABLES = ("1", "2", "3", "4", "5", "6", "7", "scores", "fig1", "search")
_ROWS = {"ablation": table4.KNOWN}


class Chosen:
    """The studies of a results folder that tables are made from, one of each kind.

    Args:
        results: folder of records and manifests.
        studies: base by kind of study; of other kinds the study updated last.
        reader: of the records, to be shared.
        scenarios: bases of scenarios, each in place of that of its scenario, network and city that
            was updated last.

    Raises:
        StvmError: nothing to read, or a base that no study has.
    """

    def __init__(
        self,
        results: Path,
        studies: Mapping[str, str] | None = None,
        reader: RecordReader | None = None,
        scenarios: Sequence[str] = (),
    ) -> None:
        self.results = results
        self._paths = find_manifests(results)
        self._bases = dict(studies or {})
        self._scenarios = tuple(scenarios)
        self._reader = reader or RecordReader(results)
        self._found: dict[str, tuple[Manifest, Records]] = {}
        wanted = [*self._bases.items(), *((scenario_rows.STUDY, base) for base in scenarios)]
        for kind, base in wanted:
            if base not in self._paths.get(kind, {}):
                there = ", ".join(sorted(self._paths.get(kind, {}))) or "none"
                raise StvmError(f"no {kind} study '{base}' in {results}: there are {there}")

    def __contains__(self, kind: str) -> bool:
        return kind in self._paths

    def __getitem__(self, kind: str) -> tuple[Manifest, Records]:
        """Manifest and records of the chosen study of a kind.

        Raises:
            StvmError: one of them is unreadable.
        """
        if kind not in self._found:
            paths, rows = self._paths[kind], _ROWS.get(kind)
            if kind in self._bases:
                base = self._bases[kind]
                others = tuple(sorted(set(paths) - {base}))
                manifest = replace(read_manifest(paths[base], rows), others=others)
            else:
                manifest = newest(paths, rows)
            self._found[kind] = manifest, self._reader.records(manifest)
        return self._found[kind]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One study of each scenario, network and city.

        Raises:
            StvmError: one is unreadable or does not say of which it is.
        """
        paths = self._paths.get(scenario_rows.STUDY, {})
        manifests = scenario_rows.choose(map(read_manifest, paths.values()), self._scenarios)
        return tuple(Part(m, self._reader.records(m), *scenario_rows.key_of(m)) for m in manifests)

    @cached_property
    def curve(self) -> fig1.Curve:
        """Fig. 1."""
        return fig1.build_curve(*self["pseudo_labels"])

    def ablation_of(self, variance: Manifest) -> tuple[Manifest, Records] | None:
        """The ablation updated last, or the one chosen, that shares trials with `variance`."""
        paths = self._paths.get("ablation", {})
        bases = [self._bases["ablation"]] if "ablation" in self._bases else list(paths)
        hashes = {trial.hash for trial in variance.trials}
        ablations = [read_manifest(paths[base]) for base in bases]
        found = [m for m in ablations if hashes & {trial.hash for trial in m.trials}]
        if not found:
            return None
        manifest = max(found, key=lambda m: (m.updated, m.base))
        return manifest, self._reader.records(manifest)


def bases_of(results: Path, names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Studies with these bases by kind, and those of scenarios, of which there may be several.

    Raises:
        StvmError: no study has one of them, or two of one kind.
    """
    paths = find_manifests(results)
    chosen: dict[str, str] = {}
    scenarios: list[str] = []
    for base in names:
        kinds = [kind for kind, found in paths.items() if base in found]
        if not kinds:
            there = ", ".join(f"{k} {b}" for k, found in sorted(paths.items()) for b in found)
            raise StvmError(f"no study '{base}' in {results}: there are {there}")
        for kind in kinds:
            if kind == scenario_rows.STUDY:
                scenarios.append(base)
            elif chosen.setdefault(kind, base) != base:
                raise StvmError(f"--study names two {kind} studies, {chosen[kind]} and {base}")
    return chosen, tuple(scenarios)


def choose_studies(
    results: Path, names: Iterable[str], reader: RecordReader | None = None
) -> Chosen:
    """The studies of a folder: those with these bases, else those updated last.

    Raises:
        StvmError: nothing to read, no study has one of the bases, or two of one kind.
    """
    studies, scenarios = bases_of(results, names)
    return Chosen(results, studies, reader, scenarios)


def _parts(chosen: Chosen, table: str) -> list[Part]:
    return [part for part in chosen.parts if scenario_rows.SCENARIOS[part.scenario] == table]


def _table1(chosen: Chosen) -> list[Sheet | None]:
    return [table1.sheet("1", parts)] if (parts := _parts(chosen, "1")) else []


def _table2(chosen: Chosen) -> list[Sheet | None]:
    return [table1.sheet("2", parts)] if (parts := _parts(chosen, "2")) else []


def _table3(chosen: Chosen) -> list[Sheet | None]:
    parts = _parts(chosen, "3")
    return [table3.sheet(parts), table3.class_sheet(parts)] if parts else []


def _table4(chosen: Chosen) -> list[Sheet | None]:
    table = table4.build_table(*chosen["ablation"])
    return [table4.sheet(table), table4.realisation_sheet(table), per_class.sheet(table)]


def _table5(chosen: Chosen) -> list[Sheet | None]:
    return [table5.sheet(table5.build_table(*chosen["hparam_grid"]))]


def _table6(chosen: Chosen) -> list[Sheet | None]:
    manifest, records = chosen["variance"]
    return [table6.sheet(manifest, records, chosen.ablation_of(manifest))]


def _table7(chosen: Chosen) -> list[Sheet | None]:
    return [table7.sheet(*chosen["silhouette"])]


def _scores(chosen: Chosen) -> list[Sheet | None]:
    return [score_ranking.sheet([chosen[kind] for kind in KINDS if kind in chosen])]


def _fig1(chosen: Chosen) -> list[Sheet | None]:
    return [fig1.sheet(chosen.curve)]


def _search(chosen: Chosen) -> list[Sheet | None]:
    manifest, records = chosen["search"]
    return [search_result.sheet(manifest, records), search_result.importance_sheet(manifest)]


_BUILDERS: dict[str, Callable[[Chosen], list[Sheet | None]]] = dict(
    zip(
        TABLES,
        (_table1, _table2, _table3, _table4, _table5, _table6, _table7, _scores, _fig1, _search),
        strict=True,
    )
)


def build_tables(chosen: Chosen, tables: Iterable[str] = TABLES) -> tuple[list[Sheet], list[str]]:
    """Sheets of the tables that have a study, and a line for each table that has none.

    Args:
        chosen: studies.
        tables: among `TABLES`; made in the order of the paper.

    Raises:
        StvmError: something unreadable.
    """
    wanted = set(tables)
    sheets: list[Sheet] = []
    missing: list[str] = []
    for table in TABLES:
        if table not in wanted:
            continue
        study = STUDY.get(table)
        made = (
            [s for s in _BUILDERS[table](chosen) if s] if study is None or study in chosen else []
        )
        sheets += made
        if not made:
            listed = study in chosen if study in KINDS else False
            how = {t: scenario_rows.run_command(s) for s, t in scenario_rows.SCENARIOS.items()}
            missing.append(f"{_name(table)}: {_missing(study, listed, how.get(table))}")
    return sheets, missing


def _name(table: str) -> str:
    return f"table {table}" if table.isdecimal() else table


def _missing(study: str | None, listed: bool, how: str | None = None) -> str:
    if study is None:
        return f"no record with scores yet: run `{command('ablation')}`"
    return f"no {'result' if listed else 'study'} yet: run `{how or command(study)}`"


def build_sheets(results: Path, studies: Mapping[str, str] | None = None) -> list[Sheet]:
    """The sheets of every table whose study has a manifest, in the order of the paper.

    Args:
        results: folder of records and manifests.
        studies: base by kind of study; of other kinds the study updated last.

    Raises:
        StvmError: nothing to read, or something unreadable.
    """
    return build_tables(Chosen(results, studies))[0]
