"""Studies of a results folder that tables are made from, one of each kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from reports.sheets.rows import Records
from reports.tables import ablation_rows, scenario_studies
from reports.tables.scenario_studies import ScenarioStudy
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, find_manifests, kind_and_base, newest, read_manifest
from stvm.records.passed_over import going_on
from stvm.records.record import RecordReader

KNOWN_ROWS = {"ablation": ablation_rows.KNOWN}
"""Rows that a kind of study may have; other kinds may have any."""


class ChosenStudies:
    """Studies of a results folder that tables are made from, one of each kind.

    Args:
        results: folder of records and manifests.
        studies: base by kind of study; of other kinds the study updated last is taken.
        reader: reader of the records, to be shared.
        scenarios: bases of scenario studies; each replaces the study of its scenario, network and
            city that was updated last.

    With `passed_over` of the reader, a study that cannot be read is noted there and left out.

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
        self.passed_over = reader.passed_over if reader else None
        if self.passed_over is not None:
            self._paths = _readable(self._paths, self.passed_over)
        self._bases = dict(studies or {})
        self._scenarios = tuple(scenarios)
        self._reader = reader or RecordReader(results)
        self._found: dict[str, tuple[Manifest, Records]] = {}
        wanted = [*self._bases.items(), *((scenario_studies.STUDY, base) for base in scenarios)]
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
            paths, rows = self._paths[kind], KNOWN_ROWS.get(kind)
            if kind in self._bases:
                base = self._bases[kind]
                others = tuple(sorted(set(paths) - {base}))
                manifest = replace(read_manifest(paths[base], rows), others=others)
            else:
                manifest = newest(paths, rows)
            self._found[kind] = manifest, self._reader.records(manifest)
        return self._found[kind]

    @cached_property
    def scenarios(self) -> tuple[ScenarioStudy, ...]:
        """One study of each scenario, network and city.

        Raises:
            StvmError: one is unreadable, or its facts do not name them.
        """
        paths = self._paths.get(scenario_studies.STUDY, {})
        manifests = scenario_studies.choose(map(read_manifest, paths.values()), self._scenarios)
        return tuple(
            ScenarioStudy(m, self._reader.records(m), *scenario_studies.identify(m))
            for m in manifests
        )

    def of_scenario(self, scenario: str) -> list[ScenarioStudy]:
        """Studies of one scenario, each of another network or city.

        Raises:
            StvmError: a manifest is unreadable, or its facts do not name scenario and network.
        """
        return [study for study in self.scenarios if study.scenario == scenario]

    def ablation_of(self, variance: Manifest) -> tuple[Manifest, Records] | None:
        """The ablation updated last, or the chosen one, that shares trials with `variance`."""
        return self.sharing("ablation", variance)

    def sharing(self, kind: str, study: Manifest) -> tuple[Manifest, Records] | None:
        """The study of a kind updated last, or the chosen one, that shares trials with another."""
        paths = self._paths.get(kind, {})
        bases = [self._bases[kind]] if kind in self._bases else list(paths)
        hashes = {trial.hash for trial in study.trials}
        manifests = [read_manifest(paths[base]) for base in bases]
        found = [m for m in manifests if hashes & {trial.hash for trial in m.trials}]
        if not found:
            return None
        manifest = max(found, key=lambda m: (m.updated, m.base))
        return manifest, self._reader.records(manifest)


def _readable(
    paths: Mapping[str, Mapping[str, Path]], passed_over: list[str]
) -> dict[str, dict[str, Path]]:
    """The manifests without those that cannot be read, of which a line is noted."""
    found: dict[str, dict[str, Path]] = {}
    for kind, by_base in paths.items():
        for base, path in by_base.items():
            with going_on(passed_over):
                read_manifest(path, KNOWN_ROWS.get(kind))
                found.setdefault(kind, {})[base] = path
    return found


def bases_of(results: Path, names: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Bases by kind of study, and those of scenario studies, of which there may be several.

    A name is a base, or kind and base, as `status` shows a study.

    Raises:
        StvmError: no study has one of the names, or two studies of one kind have one.
    """
    paths = find_manifests(results)
    chosen: dict[str, str] = {}
    scenarios: list[str] = []
    for name in names:
        of_kind, base = kind_and_base(name)
        kinds = [k for k, found in paths.items() if base in found and of_kind in ("", k)]
        if not kinds:
            there = ", ".join(f"{k}-{b}" for k, found in sorted(paths.items()) for b in found)
            raise StvmError(f"no study '{name}' in {results}: there are {there}")
        for kind in kinds:
            if kind == scenario_studies.STUDY:
                scenarios.append(base)
            elif chosen.setdefault(kind, base) != base:
                raise StvmError(f"--study names two {kind} studies, {chosen[kind]} and {base}")
    return chosen, tuple(scenarios)


def choose_studies(
    results: Path, names: Iterable[str], reader: RecordReader | None = None
) -> ChosenStudies:
    """Studies of a folder: those with these bases, else those updated last.

    Raises:
        StvmError: nothing to read, no study has one of the bases, or two of one kind.
    """
    studies, scenarios = bases_of(results, names)
    return ChosenStudies(results, studies, reader, scenarios)
