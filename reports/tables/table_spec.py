"""A table as a value: its name, the study that it needs, and the function that makes it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reports.sheets.sheet import Sheet
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.scenario_studies import scenario_command
from stvm.records.manifest import command


@dataclass(frozen=True)
class TableSpec:
    """A table of the catalogue.

    Attributes:
        key: name of the table for `--tables`.
        study: kind of study that it is made from; None for a table over studies of all kinds.
        build: function that makes the sheets; a None among them is a sheet without content.
        scenario: scenario of the study, where one kind of study has a table for each scenario.
    """

    key: str
    study: str | None
    build: Callable[[ChosenStudies], Iterable[Sheet | None]]
    scenario: str = ""

    def sheets(self, chosen: ChosenStudies) -> list[Sheet]:
        """Sheets of the table; none where its study is missing or has no result yet.

        Raises:
            StvmError: something unreadable.
        """
        if self.study is not None and self.study not in chosen:
            return []
        return [sheet for sheet in self.build(chosen) if sheet]

    def missing(self, chosen: ChosenStudies) -> str:
        """One line for a table without sheets: the reason, and the command to run."""
        name = f"table {self.key}" if self.key.isdecimal() else self.key
        if self.study is None:
            return f"{name}: no record with scores yet: run `{command('ablation')}`"
        if self.scenario:
            return f"{name}: no study yet: run `{scenario_command(self.scenario)}`"
        lacks = "result" if self.study in chosen else "study"
        return f"{name}: no {lacks} yet: run `{command(self.study)}`"
