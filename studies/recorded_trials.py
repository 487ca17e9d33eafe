"""The records of a study's trials, counted; one that cannot be read is named."""

from dataclasses import dataclass

from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.study import Studies, Study


@dataclass(frozen=True)
class Recorded:
    """The records of a study's trials, each trial once.

    Attributes:
        trials: number of trials.
        count: number of trials with a record.
        failed: reason of each failed trial by hash.
        unread: a line for each record that cannot be read.
    """

    trials: int
    count: int
    failed: dict[str, str]
    unread: list[str]

    @property
    def missing(self) -> int:
        """Number of trials without a record."""
        return self.trials - self.count - len(self.unread)

    def __str__(self) -> str:
        and_failed = f", {len(self.failed)} of them failed" if self.failed else ""
        unread = f", {len(self.unread)} cannot be read" if self.unread else ""
        return f"{self.count} of {self.trials} trials recorded{and_failed}{unread}"


def look(study: Study | Studies, results: Results) -> Recorded:
    """Read the records of a study's trials."""
    names = dict.fromkeys(trial.hash for trial in study.trials)
    count, failed = 0, {}
    unread: list[str] = []
    for name in names:
        with going_on(unread):
            record = results.read(name)
            count += record is not None
            if record and not record.is_done:
                failed[name] = record.reason
    return Recorded(len(names), count, failed, unread)
