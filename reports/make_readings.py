"""`python reports/make_readings.py`: what each reading of the paper costs, from records."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tabulate import tabulate

from reports.cells import number
from reports.paired import Key, estimate, paired
from reports.read_results import Trial, read_json, read_manifest, read_record
from stvm.errors import StvmError


def read_values(results: Path, trials: Sequence[Trial]) -> dict[str, dict[Key, float]]:
    """mIoU of each row's recorded trials; a failed or missing trial has none."""
    values: dict[str, dict[Key, float]] = {}
    for trial in trials:
        record = read_record(results, trial)
        row = values.setdefault(trial.row, {})
        if record is not None and record.miou is not None:
            row[trial.realisation, trial.seed] = record.miou
    return values


def to_markdown(results: Path) -> str:
    """A table of every reading with its difference to the row it departs from.

    Raises:
        StvmError: no study of readings, or something unreadable.
    """
    paths = sorted(results.glob("studies/readings-*.json"))
    if not paths:
        raise StvmError(f"no readings in {results}: run `python studies/readings.py` first")
    path = max(paths, key=lambda p: str(read_json(p).get("updated")))
    rows = tuple(dict.fromkeys(str(t.get("row")) for t in read_json(path)["trials"]))
    manifest = read_manifest(path, rows)
    fresh = tuple(trial for trial in manifest.trials if not trial.tuned)
    trials = fresh or manifest.trials
    values = read_values(results, trials)
    listed = Counter(trial.row for trial in trials)
    lines = []
    for row in rows:
        reference = row.split(",")[0]
        mean = estimate(values[row].values())
        delta = paired(values[row], values[reference]) if row != reference else None
        interval = ""
        if delta and delta.low is not None and delta.high is not None:
            interval = f"[{number(delta.low, sign=True)}, {number(delta.high, sign=True)}]"
        lines.append(
            [
                f"**{row}**" if delta is None else row.partition(", ")[2],
                number(mean.mean) or "missing",
                number(mean.sd),
                str(mean.n) if mean.n == listed[row] else f"{mean.n} of {listed[row]}",
                number(delta.mean, sign=True) if delta else "",
                interval,
            ]
        )
    head = ["reading", "mIoU", "sd", "n", "against the row", "95 % interval"]
    table = tabulate(lines, head, "pipe", disable_numparse=True)
    numbers = ", ".join(str(n) for n in sorted({t.realisation for t in trials}))
    which = f"{'Fresh' if fresh else 'TUNED ON'} realisations {numbers}."
    return f"{manifest.title}. {manifest.rule} {which}\n\n{table}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        text = to_markdown(options.results)
        out = options.results / "tables" / "readings.md"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except (StvmError, OSError) as error:
        print(f"make_readings: {error}", file=sys.stderr)
        return 2
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
