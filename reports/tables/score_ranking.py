"""Rank correlation of label-free scores with mIoU, and the loss of choosing trials by them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.sheets import notes
from reports.sheets.cells import figure, interval, mark
from reports.sheets.rows import Records
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.table_spec import TableSpec
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, Trial
from stvm.records.record import Record
from stvm.records.selection_scores import SELECTION_SCORES, SelectionScore
from stvm.statistics import MIN_TRIALS, ScoredTrial, rank_correlation, selection_regret

SCORES = tuple(score for score in SELECTION_SCORES.values() if not score.oracle)
"""Scores that need no target label."""
RANKED = (
    "ablation",
    "hparam_grid",
    "variance",
    "silhouette",
    "pseudo_labels",
    "objectives",
    "search",
)
"""Kinds of studies whose trials are ranked."""
Studies = Sequence[tuple[Manifest, Records]]


@dataclass(frozen=True)
class Group:
    """Trials to choose from.

    Attributes:
        label: name in the table.
        done: trials of one split that adapt and are done, each hash once.
        lost: number of trials that failed or have no record, each hash once; in a study with
            several splits they count with the split that has the most trials.
    """

    label: str
    done: tuple[tuple[Trial, Record], ...]
    lost: int

    def scored(self, score: SelectionScore) -> list[tuple[Trial, float, float]]:
        """Trial, score (higher is better) and mIoU of the trials that have the score."""
        sign = 1 if score.higher_is_better else -1
        return [
            (trial, sign * value, record.miou)
            for trial, record in self.done
            if (value := score.value(record)) is not None and record.miou is not None
        ]


Listed = list[tuple[Trial, Record | None]]


def _training(trial: Trial, record: Record | None) -> str:
    """Hash of a training: of the trial, or of its twin where an unused metric network was trained.

    Twins have bit-equal results, but only this trial has a silhouette.
    """
    if record is None or not record.settings.get("metric_alongside"):
        return trial.hash
    # Here, since the settings take longer to load than this table to make.
    from stvm.settings import Settings

    try:
        return Settings().replace(**(record.settings | {"metric_alongside": False})).hash()
    except StvmError:
        return trial.hash


def _known(record: Record | None) -> int:
    """Number of scores of a trial; -1 for a trial without a result."""
    if record is None or record.miou is None:
        return -1
    return sum(score.value(record) is not None for score in SCORES)


def _once(records: Listed) -> Listed:
    """Each training once: the trial with the most scores, among equals the first."""
    found: dict[str, tuple[Trial, Record | None]] = {}
    for trial, record in records:
        name = _training(trial, record)
        if name not in found or _known(record) > _known(found[name][1]):
            found[name] = trial, record
    return list(found.values())


def _groups(label: str, records: Listed) -> dict[str, Group]:
    """A group for each split, since figures of different images are not compared."""
    once = _once(records)
    lost = sum(record is None or record.error is not None for _, record in once)
    splits: dict[str, list[tuple[Trial, Record]]] = {}
    for trial, record in sorted(once, key=lambda p: (p[0].realisation, p[0].hash)):
        if record is not None and record.adapts and record.miou is not None:
            splits.setdefault(record.split, []).append((trial, record))
    most = max(splits, key=lambda split: (len(splits[split]), split), default="")
    return {
        split: Group(
            label if len(splits) == 1 else f"{label} ({split})",
            tuple(done),
            lost if split == most else 0,
        )
        for split, done in sorted(splits.items())
    }


def groups(studies: Studies) -> list[Group]:
    """Groups of each study, then of all studies with one preset, data set and split."""
    found: list[Group] = []
    shared: dict[tuple[str, str], list[Listed]] = {}
    for manifest, records in studies:
        part = list(records.items())
        found += _groups(manifest.study.replace("_", " "), part).values()
        shared.setdefault((manifest.preset, manifest.dataset), []).append(part)
    for (preset, _), parts in shared.items():
        if len(parts) > 1:
            together = _groups("all", [pair for part in parts for pair in part])
            found += [
                replace(group, label=f"all that adapt ({preset}, {split})")
                for split, group in together.items()
                if sum(any(r and r.adapts and r.split == split for _, r in p) for p in parts) > 1
            ]
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


def by_realisation(scored: list[tuple[Trial, float, float]]) -> dict[int, list[ScoredTrial]]:
    """Score and mIoU of the trials of each realisation."""
    found: dict[int, list[ScoredTrial]] = {}
    for trial, value, miou in scored:
        found.setdefault(trial.realisation, []).append((value, miou))
    return found


def _rows(group: Group) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    random: float | None = None
    hashes: tuple[str, ...] = ()
    for score in SCORES:
        scored = group.scored(score)
        pairs = by_realisation(scored)
        rho = rank_correlation(pairs)
        regret = selection_regret(pairs)
        trials = tuple(trial.hash for trial, _, _ in scored)
        if regret and len(trials) > len(hashes):
            random, hashes = regret.random, trials
        rows.append(
            (
                Cell(group.label),
                Cell(score.label, key=score.name),
                figure(rho.rho, trials, scale=1, sign=True, digits=2),
                interval(rho.low, rho.high, trials, scale=1, sign=True, digits=2),
                figure(regret.chosen if regret else None, trials),
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
            "setting with two seeds is two trials, and a metric network trained alongside, unused, "
            "makes no other. Trials of different splits are not mixed.",
            "Agreement is between student and mean teacher where there is one, and between "
            "student and frozen source model elsewhere.",
            "ρ is Spearman's correlation with mIoU within a realisation of at least "
            f"{MIN_TRIALS} trials, averaged with weights n - 3; the interval is Fisher's with the "
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


def ranked_studies(chosen: ChosenStudies) -> list[tuple[Manifest, Records]]:
    """Manifest and records of each study whose trials are ranked.

    Raises:
        StvmError: one of them is unreadable.
    """
    return [chosen[kind] for kind in RANKED if kind in chosen]


TABLE = TableSpec("scores", None, lambda chosen: [sheet(ranked_studies(chosen))])
