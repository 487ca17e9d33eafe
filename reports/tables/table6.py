"""Table VI: variation of the result over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.sheets import notes
from reports.sheets.cells import count, figure, interval, mark, mean
from reports.sheets.rows import Pool, Records, Row, by_realisation, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.published_rows import published, read_rows
from reports.tables.table_spec import TableSpec
from stvm.records.manifest import Manifest
from stvm.statistics import SeedVariance, pooled_seed_variance, variance_ratio

NAME = "STvM"
OTHERS = ("ST", "ST_Aug", "ST_MT", "STvM_Raw")
"""Rows of the ablation that have a trial for each seed."""
OBJECTIVES = ("CBST", "URMA")
"""Rows of Table VIII that the paper's Table VI has too."""


@dataclass(frozen=True)
class PublishedSeeds:
    """A row as published, GTA5 to Cityscapes over five seeds.

    Attributes:
        name: method.
        mean: mean mIoU in per cent.
        sd: standard deviation in points.
        least: lowest mIoU in per cent.
    """

    name: str
    mean: float
    sd: float
    least: float


def published_seeds() -> list[PublishedSeeds]:
    """Published rows, in the paper's order."""
    return [
        PublishedSeeds(row["method"], float(row["mean"]), float(row["std"]), float(row["min"]))
        for row in read_rows("6")
    ]


_COLUMNS = (
    Column("method", "left", "name"),
    Column("mIoU", "right", "miou_mean"),
    Column("sd", "right", "sd"),
    Column("95 % interval of sd", "right", "sd", interval=True),
    Column("min", "right", "min"),
    Column("n", "left", "n"),
    Column(f"variance / {NAME}'s", "right", "variance_ratio"),
    Column("95 % interval", "right", "variance_ratio", interval=True),
)
_MEAN, _SD, _MIN = 1, 2, 4
_NOTES = (
    "mIoU in per cent over n trials that differ in the seed; sd has n - 1 in the denominator "
    "(ddof 1). The paper does not say which it uses; with n in the denominator five seeds give "
    "0.89 of this figure.",
    "Over several realisations the sd is that within realisations: squares about the mean of "
    "each, summed, over n less the number of realisations.",
    "The interval of the sd is the chi-square interval, which takes mIoU as normal.",
)


def _cells(label: str, row: Row, reference: SeedVariance | None) -> tuple[Cell, ...]:
    found = pooled_seed_variance(row.values)
    low, high = found.interval() or (None, None)
    ratio = variance_ratio(found, reference) if reference else None
    value, least, most = ratio or (None, None, None)
    return (
        Cell(label),
        mean(row, digits=2),
        figure(found.sd, row.trials, digits=2),
        interval(low, high, row.trials, digits=2),
        figure(min(row.values.values(), default=None), row.trials, digits=2),
        count(row),
        figure(value, row.trials, scale=1, digits=2),
        interval(least, most, row.trials, scale=1, digits=2),
    )


def _published() -> list[tuple[Cell, ...]]:
    empty = Cell("")
    return [
        (
            Cell(f"{row.name} (published †)", key=f"{row.name} (published)"),
            published(row.mean, digits=2),
            published(row.sd, digits=2),
            empty,
            published(row.least, digits=2),
            Cell("5", 5),
            empty,
            empty,
        )
        for row in published_seeds()
    ]


def beside(row: Row, records: Records, names: Sequence[str] = OTHERS) -> dict[str, Row]:
    """Rows of another study that have two seeds on a realisation of `row`."""
    realisations = {realisation for realisation, _ in row.values}
    part = {t: r for t, r in records.items() if t.realisation in realisations}
    rows = collect(part, names=names)
    return {name: rows[name] for name in names if pooled_seed_variance(rows[name].values).dof}


def _measured(
    pooled: Pool, others: dict[str, Row]
) -> tuple[list[tuple[Cell, ...]], tuple[int, ...]]:
    """Rows of other studies above that of the study and those of its realisations, and breaks.

    Args:
        pooled: trials of the study.
        others: rows of other studies by label.
    """
    row = collect(pooled.records, names=(NAME,))[NAME]
    reference = pooled_seed_variance(row.values)
    rows = [_cells(label, other, reference) for label, other in others.items()]
    rows.append(_cells(NAME, row, None))
    breaks = [len(rows)]
    for column, lowest in ((_MEAN, False), (_SD, True), (_MIN, False)):
        rows = mark(rows, column, range(len(rows)), lowest)
    if len(pooled.realisations) > 1:
        for part in by_realisation(pooled.records):
            single = collect(part.records, names=(NAME,))[NAME]
            rows.append(_cells(f"{NAME}, realisation {part.realisations[0]}", single, None))
        breaks.append(len(rows))
    return rows, tuple(breaks)


def _other_notes(found: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences on the rows of other studies.

    Args:
        found: base of the study by the mark of its rows.
    """
    if not found:
        return ()
    return (
        *(
            f"Rows marked ({mark_}) are those of study {base} on the same realisations"
            + ("." if mark_ == "ablation" else ", with the learning rate chosen there.")
            for mark_, base in found.items()
        ),
        "The ratio of variances has an F interval, which takes rows as independent though they "
        "share seeds and images.",
        notes.BEST.format(", of sd the lowest"),
    )


def sheet(
    manifest: Manifest,
    records: Records,
    ablation: tuple[Manifest, Records] | None = None,
    objectives: tuple[Manifest, Records] | None = None,
) -> Sheet:
    """Measured rows above published ones.

    Args:
        manifest: list of the trials of a variance study.
        records: record of each trial; None where there is none.
        ablation: ablation with the same settings; its rows with two seeds or more stand beside.
        objectives: study of Table VIII with the same settings, likewise.
    """
    pooled = pool(records)
    own = collect(pooled.records, names=(NAME,))[NAME]
    others: dict[str, Row] = {}
    bases: dict[str, str] = {}
    given = {"ablation": (ablation, OTHERS), "objectives": (objectives, OBJECTIVES)}
    for kind, (study, names) in given.items():
        found = beside(own, study[1], names) if study else {}
        others |= {f"{name} ({kind})": row for name, row in found.items()}
        bases |= {kind: study[0].base} if study and found else {}
    rows, breaks = _measured(pooled, others)
    printed = _published()
    return Sheet(
        "table6",
        notes.tuned_mark("Table VI", pooled),
        notes.heading(manifest),
        manifest.rule,
        _COLUMNS,
        tuple(rows + printed),
        breaks=breaks,
        notes=(
            notes.pool_note(pooled, manifest.dataset),
            *_NOTES,
            *_other_notes(bases),
            f"{notes.PUBLISHED} URMA's protocol: five seeds.",
            *notes.study_notes(manifest, pooled.records),
        ),
        published_rows=tuple(range(len(rows), len(rows) + len(printed))),
    )


def _build(chosen: ChosenStudies) -> list[Sheet]:
    manifest, records = chosen["variance"]
    objectives = chosen.sharing("objectives", manifest)
    return [sheet(manifest, records, chosen.ablation_of(manifest), objectives)]


TABLE = TableSpec("6", "variance", _build)
