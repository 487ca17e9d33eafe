"""Sentences and cells that Tables I to III share."""

from collections.abc import Iterable, Sequence

from reports.sheets import notes
from reports.sheets.rows import Records, Row
from reports.sheets.sheet import Cell, Column
from reports.tables.scenario_rows import (
    NETWORKS,
    PaperRow,
    Part,
    Variant,
    network_label,
    protocol_notes,
    run_command,
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


def head(name: str) -> str:
    """A class's name above its column, abbreviated as in the paper."""
    return _HEADS.get(name, name.capitalize())


METHOD = (Column("Method", "left", "method"), Column("Net", "left", "network"))
SOURCE_FREE = Column("SF", "center", "source_free")


def published_names(row: PaperRow) -> tuple[Cell, ...]:
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


def rule(parts: Sequence[Part]) -> str:
    """The rule of the studies; by their labels where they differ."""
    found: dict[str, list[str]] = {}
    for part in parts:
        found.setdefault(part.manifest.rule, []).append(part.label)
    if len(found) < 2:
        return "".join(found)
    return " ".join(f"{', '.join(labels)}: {text}" for text, labels in found.items())


def caption(parts: Sequence[Part]) -> str:
    """The studies by title; more than two by network, city and base."""
    if len(parts) < 3:
        return "; ".join(notes.heading(part.manifest) for part in parts)
    return "Studies: " + ", ".join(f"{part.label} {part.manifest.base}" for part in parts)


def all_records(parts: Iterable[Part]) -> Records:
    """Of all parts together."""
    return {trial: record for part in parts for trial, record in part.records.items()}


def study_notes(
    parts: Sequence[Part], rows: Iterable[tuple[Variant, Row]], without: Sequence[str]
) -> tuple[str, ...]:
    """What was measured how, what failed, and what is not there.

    Args:
        parts: of the table.
        rows: measured.
        without: networks or cities of the paper without a study.
    """
    records = all_records(parts)
    others = sorted({base for part in parts for base in part.manifest.others})
    lines = [*protocol_notes(records), *_without_multi_scale(list(rows))]
    lines += [*notes.split_note(records), *notes.gap_notes(records)]
    if without:
        how = f"`{run_command(parts[0].scenario)}`, with --network"
        lines.append(f"Not run yet: {', '.join(without)} ({how}).")
    if others:
        options = ", ".join(f"--study {base}" for base in others)
        lines.append(f"Other studies of the same networks, left out: {options}.")
    return tuple(lines)


def absent_networks(parts: Iterable[Part]) -> list[str]:
    """The paper's networks of which there is no study."""
    there = {part.network for part in parts}
    return [label for network, label in NETWORKS.items() if network not in there]


def _without_multi_scale(rows: Sequence[tuple[Variant, Row]]) -> list[str]:
    plain = any(row.values for variant, row in rows if not variant.multi_scale)
    multi = any(row.values for variant, row in rows if variant.multi_scale)
    if plain and not multi:
        return ["STvM (w MST) was not measured: the setting multi_scale=true asks for it."]
    return []
