"""The records of a study's trials, counted; one that cannot be read is named."""

from dataclasses import dataclass

from stvm.records.passed_over import going_on
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.study import Studies, Study


@dataclass(frozen=True)
class Recorded:
    """The records of a study's trials, each trial once.

    Attributes:
        records: record of each trial by hash, None where there is none; those that cannot be read
            are not among them.
        unread: a line for each record that cannot be read.
    """

    records: dict[str, Record | None]
    unread: list[str]

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.records) + len(self.unread)

    @property
    def count(self) -> int:
        """Number of trials with a record."""
        return len(self.records) - self.missing

    @property
    def missing(self) -> int:
        """Number of trials without a record."""
        return sum(record is None for record in self.records.values())

    @property
    def failed(self) -> dict[str, str]:
        """Reason of each failed trial by hash."""
        there = ((name, record) for name, record in self.records.items() if record)
        return {name: record.reason for name, record in there if not record.is_done}

    def __str__(self) -> str:
        return self.told(self.and_failed)

    def told(self, more: str = "") -> str:
        """How many are recorded, with more about these, and how many cannot be read."""
        return f"{self.count} of {self.trials} trials recorded{more}{self.and_unread}"

    @property
    def and_failed(self) -> str:
        """How many of the recorded ones failed, after a comma; empty for none."""
        return f", {len(self.failed)} of them failed" if self.failed else ""

    @property
    def and_unread(self) -> str:
        """How many cannot be read, after a comma; empty for none."""
        return f", {len(self.unread)} cannot be read" if self.unread else ""


def look(study: Study | Studies, results: Results) -> Recorded:
    """Read the records of a study's trials."""
    records: dict[str, Record | None] = {}
    unread: list[str] = []
    for name in dict.fromkeys(trial.hash for trial in study.trials):
        with going_on(unread):
            records[name] = results.read(name)
    return Recorded(records, unread)
