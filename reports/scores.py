"""How well scores without target labels rank trials, and what choosing by them loses."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports import notes
from reports.cells import figure, interval, mark
from reports.manifests import Manifest, Trial
from reports.rank import LEAST, Pair, regret, spearman
from reports.read_results import Record
from reports.rows import Records
from reports.sheet import Cell, Column, Sheet
from stvm.objectives import OBJECTIVES, Objective

SCORES = tuple(objective for objective in OBJECTIVES.values() if not objective.oracle)
Studies = Sequence[tuple[Manifest, Records]]


@dataclass(frozen=True)
class Group:
    """Trials to choose from.

    Attributes:
        label: for the table.
        done: trials that adapt and are done, each hash once.
        lost: how many failed or have no record, each hash once.
    """

    label: str
    done: tuple[tuple[Trial, Record], ...]
    lost: int

    def scored(self, score: Objective) -> list[tuple[Trial, float, float]]:
        """Trial, score (higher is better) and mIoU of those that have the score."""
        sign = 1 if score.higher_is_better else -1
        return [
            (trial, sign * value, record.miou)
            for trial, record in self.done
            if (value := score.value(record.result)) is not None and record.miou is not None
        ]


def _group(label: str, records: Sequence[tuple[Trial, Record | None]]) -> Group:
    once = {trial.hash: (trial, record) for trial, record in reversed(records)}
    done = [(t, r) for t, r in once.values() if r is not None and r.adapts and r.miou is not None]
    lost = sum(r is None or r.error is not None for _, r in once.values())
    ordered = sorted(done, key=lambda pair: (pair[0].realisation, pair[0].hash))
    return Group(label, tuple(ordered), lost)


def groups(studies: Studies) -> list[Group]:
    """Each study, then all those of one preset, data set and split where there are several."""
    found = [_group(m.study.replace("_", " "), list(r.items())) for m, r in studies]
    shared: dict[tuple[str, str, str], list[list[tuple[Trial, Record | None]]]] = {}
    for manifest, records in studies:
        splits = {r.split for r in records.values() if r is not None and r.split}
        key = (manifest.preset, manifest.dataset, "/".join(sorted(splits)))
        shared.setdefault(key, []).append(list(records.items()))
    for (preset, _, split), parts in shared.items():
        if len(parts) > 1:
            label = f"all that adapt ({preset}, {split})"
            found.append(_group(label, [pair for part in parts for pair in part]))
    return [group for group in found if any(group.scored(score) for score in SCORES)]


_COLUMNS = (
    Column("trials of", "left", "group"),
    Column("choose by", "left", "score"),
    Column("Spearman's ρ", "right", "rho"),
    Column("95 % interval", "right", "rho", interval=True),
    Column("mIoU lost", "right", "lost"),
    Column("n", "right", "n"),
)
_RHO, _LOST = 2, 4


def _by_realisation(scored: list[tuple[Trial, float, float]]) -> dict[int, list[Pair]]:
    found: dict[int, list[Pair]] = {}
    for trial, value, miou in scored:
        found.setdefault(trial.realisation, []).append((value, miou))
    return found


def _rows(group: Group) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    random: float | None = None
    hashes: tuple[str, ...] = ()
    for score in SCORES:
        scored = group.scored(score)
        pairs = _by_realisation(scored)
        rho = spearman(pairs)
        loss = regret(pairs)
        trials = tuple(trial.hash for trial, _, _ in scored)
        if loss and len(trials) > len(hashes):
            random, hashes = loss[1], trials
        rows.append(
            (
                Cell(group.label),
                Cell(score.label, key=score.name),
                figure(rho.rho, trials, scale=1, sign=True, digits=2),
                interval(rho.low, rho.high, trials, scale=1, sign=True, digits=2),
                figure(loss[0] if loss else None, trials),
                Cell(str(len(trials)), len(trials), trials=trials),
            )
        )
    rows = mark(rows, _RHO, range(len(SCORES)))
    rows = mark(rows, _LOST, range(len(SCORES)), lowest=True)
    chance = (figure(random, hashes), Cell(str(len(hashes)), len(hashes), trials=hashes))
    return [*rows, (Cell(group.label), Cell("a random trial"), Cell(""), Cell(""), *chance)]


def sheet(studies: Studies) -> Sheet | None:
    """A row for each group and score; None where no record has a score."""
    found = groups(studies)
    if not found:
        return None
    rows = [row for group in found for row in _rows(group)]
    size = len(SCORES) + 1
    lost = "; ".join(f"{group.label} {group.lost}" for group in found if group.lost)
    tuned = sorted({t.realisation for group in found for t, _ in group.done if t.tuned})
    names = ", ".join(map(str, tuned))
    rules = {manifest.rule for manifest, _ in studies}
    bases = ", ".join(f"{m.study.replace('_', ' ')} {m.base}" for m, _ in studies)
    return Sheet(
        "scores",
        "Choosing without labels",
        f"Scores without target labels against mIoU (studies {bases})",
        rules.pop() if len(rules) == 1 else "",
        _COLUMNS,
        tuple(rows),
        breaks=tuple(range(size, len(rows), size)),
        notes=(
            "Each score is turned so that higher is better. Trials that adapt, each once: one "
            "setting with two seeds is two trials.",
            "ρ is Spearman's correlation with mIoU within a realisation of at least "
            f"{LEAST} trials, averaged with weights n - 3; the interval is Fisher's with the "
            "standard error of Bonett and Wright. It takes trials as independent, which those "
            "that share a seed are not.",
            "mIoU lost, in points: that of the best trial, which only an oracle knows, less that "
            "of the trial with the best score, among the n trials that have the score; the mean "
            "over realisations. A random trial loses the difference to the mean.",
            notes.BEST.format(" of each group (least lost)"),
            *([f"Left out, failed or not recorded: {lost}."] if lost else []),
            *([f"Realisations tuned on are among them: {names}."] if tuned else []),
        ),
    )
