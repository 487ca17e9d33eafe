"""Blocks of rows, cells and sentences that Tables I to III share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports.sheets import notes
from reports.sheets.cells import mark
from reports.sheets.rows import Records, Row
from reports.sheets.sheet import Cell, Column
from reports.tables.scenario_rows import PublishedMethod, Variant, protocol_notes
from reports.tables.scenario_studies import (
    NETWORKS,
    ScenarioStudy,
    network_label,
    networks_of,
    scenario_command,
)

_HEADS = {
    "traffic light": "Light",
    "traffic sign": "Sign",
    "vegetation": "Veg.",
    "motorcycle": "Mbike",
}
PUBLISHED = (
    "† Published rows, as the paper prints them: each method was measured by its authors under "
    "their own protocol. The paper states neither resolution nor scales of its own rows."
)
MARKS = (
    "Bold: best of a column, underlined: second, as printed, among all rows of a network, "
    "published and measured; figures of different protocols differ by points for that alone."
)
NETS = "DL V2: DeepLabV2 with ResNet-101; DL V3: DeepLabV3 with ResNet-50"
SPREAD = (
    "Measured figures are per cent, means over the n recorded trials of a row, which differ in the "
    "seed; sd (n - 1 in the denominator) is that of the mean IoU left of it."
)


@dataclass(frozen=True)
class Blocks:
    """Rows of a table, a block for each network.

    Attributes:
        rows: rows of cells; the published ones of a network stand above its measured ones.
        breaks: numbers of the rows above which a line is drawn, from 0.
        published: numbers of the published rows, from 0.
    """

    rows: tuple[tuple[Cell, ...], ...]
    breaks: tuple[int, ...]
    published: tuple[int, ...]


def stack_networks(
    studies: Sequence[ScenarioStudy],
    published: Callable[[str], Sequence[tuple[Cell, ...]]],
    measured: Callable[[str], Sequence[tuple[Cell, ...]]],
    columns: range,
) -> Blocks:
    """Published rows of each network above the measured ones, the best of each block marked.

    Args:
        studies: studies of the table.
        published: published rows of a network.
        measured: measured rows of a network; none where it has no study.
        columns: numbers of the columns in which the best figures are marked, from 0.
    """
    rows: list[tuple[Cell, ...]] = []
    breaks: set[int] = set()
    printed: list[int] = []
    for network in networks_of(studies):
        start = len(rows)
        rows += published(network)
        printed += range(start, len(rows))
        found = measured(network)
        breaks |= {start, len(rows)} if found else {start}
        rows += found
        for column in columns:
            rows = mark(rows, column, range(start, len(rows)))
    return Blocks(tuple(rows), tuple(sorted(breaks - {0})), tuple(printed))


def head(name: str) -> str:
    """Name of a class above its column, abbreviated as in the paper."""
    return _HEADS.get(name, name.capitalize())


METHOD = (Column("Method", "left", "method"), Column("Net", "left", "network"))
SOURCE_FREE = Column("SF", "center", "source_free")


def published_names(row: PublishedMethod) -> tuple[Cell, ...]:
    """The cells of `METHOD`."""
    return (
        Cell(f"{row.name} †", key=f"{row.name} (published)"),
        Cell(network_label(row.network), key=row.network),
    )


def measured_names(variant: Variant, network: str) -> tuple[Cell, ...]:
    """The cells of `METHOD`."""
    return (
        Cell(f"{variant.name}, measured", key=f"{variant.name} (measured)"),
        Cell(network_label(network), key=network),
    )


def source_free(free: bool | None) -> Cell:
    """The cell of `SOURCE_FREE`; None for the source model, which is no method of adaptation."""
    return Cell("") if free is None else Cell("✓" if free else "✗", int(free))


def rule(studies: Sequence[ScenarioStudy]) -> str:
    """Rule of the studies; where they differ, each with the labels of its studies."""
    found: dict[str, list[str]] = {}
    for study in studies:
        found.setdefault(study.manifest.rule, []).append(study.label)
    if len(found) < 2:
        return "".join(found)
    return " ".join(f"{', '.join(labels)}: {text}" for text, labels in found.items())


def caption(studies: Sequence[ScenarioStudy]) -> str:
    """Titles of the studies; of more than two the networks, cities and bases."""
    if len(studies) < 3:
        return "; ".join(notes.heading(study.manifest) for study in studies)
    return "Studies: " + ", ".join(f"{study.label} {study.manifest.base}" for study in studies)


def all_records(studies: Iterable[ScenarioStudy]) -> Records:
    """Records of all studies together."""
    return {trial: record for study in studies for trial, record in study.records.items()}


def study_notes(
    studies: Sequence[ScenarioStudy], rows: Iterable[tuple[Variant, Row]], without: Sequence[str]
) -> tuple[str, ...]:
    """Sentences on protocols, failed trials and studies that are not there.

    Args:
        studies: studies of the table.
        rows: measured rows with their mean IoU.
        without: networks or cities of the paper without a study.
    """
    records = all_records(studies)
    others = sorted({base for study in studies for base in study.manifest.others})
    lines = [*protocol_notes(records), *_without_multi_scale(list(rows))]
    lines += [*notes.split_note(records), *notes.class_notes(records), *notes.gap_notes(records)]
    if without:
        how = f"`{scenario_command(studies[0].scenario)}`, with --network"
        lines.append(f"Not run yet: {', '.join(without)} ({how}).")
    if others:
        options = ", ".join(f"--study {base}" for base in others)
        lines.append(f"Other studies of the same networks, left out: {options}.")
    return tuple(lines)


def absent_networks(studies: Iterable[ScenarioStudy]) -> list[str]:
    """Labels of the paper's networks without a study."""
    there = {study.network for study in studies}
    return [label for network, label in NETWORKS.items() if network not in there]


def _without_multi_scale(rows: Sequence[tuple[Variant, Row]]) -> list[str]:
    plain = any(row.values for variant, row in rows if not variant.multi_scale)
    multi = any(row.values for variant, row in rows if variant.multi_scale)
    if plain and not multi:
        return ["STvM (w MST) was not measured: the setting multi_scale=true asks for it."]
    return []
