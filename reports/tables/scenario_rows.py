"""Rows of Tables I to III: the published methods, and the figures of measured trials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.sheets.rows import Records
from reports.tables.ablation_rows import PARTIAL
from reports.tables.published_rows import number, read_rows
from stvm.records.record import Record
from stvm.settings.protocols import PROTOCOLS

_NETWORKS = {
    "DeepLabV2-ResNet101": "deeplabv2_resnet101",
    "DeepLabV3-ResNet50": "deeplabv3_resnet50",
}
"""Setting of each network by its name in the published files."""
_ABOUT = ("method", "network", "source_free", "multi_scale_test")
_MULTI_SCALE = {"yes": " (w MST)", "no": " (w/o MST)", "": ""}


@dataclass(frozen=True)
class PublishedMethod:
    """A row as published.

    Attributes:
        name: method, with "(w MST)" or "(w/o MST)" where the paper says so.
        network: setting of the network.
        source_free: whether the method needs no source images.
        figures: per cent by column of the file; None where the paper has none.
    """

    name: str
    network: str
    source_free: bool
    figures: Mapping[str, float | None]


def published_methods(table: str) -> list[PublishedMethod]:
    """Published rows of Table I, II or III ("1", "2", "3"), in the paper's order."""
    return [
        PublishedMethod(
            row["method"] + _MULTI_SCALE[row["multi_scale_test"]],
            _NETWORKS[row["network"]],
            row["source_free"] == "yes",
            {key: number(text) for key, text in row.items() if key not in _ABOUT},
        )
        for row in read_rows(table)
    ]


@dataclass(frozen=True)
class Variant:
    """A measured row.

    Attributes:
        row: row of the study.
        name: name in the table.
        multi_scale: whether the figures are those of multi-scale testing.
        adapts: whether the trials train on the target; those of the source model do not.
    """

    row: str
    name: str
    multi_scale: bool = False
    adapts: bool = True


VARIANTS = (
    Variant("Source", "Source", adapts=False),
    Variant("AdaBN", "AdaBN"),
    Variant(PARTIAL, PARTIAL),
    Variant("STvM", "STvM (w/o MST)"),
    Variant("STvM", "STvM (w MST)", multi_scale=True),
)


def variants_of(*studies: Records) -> tuple[Variant, ...]:
    """Measured rows of some studies: the usual ones, then the objectives that they list.

    Studies of before have no partial AdaBN.
    """
    listed = dict.fromkeys(trial.variant for records in studies for trial in records)
    usual = [v for v in VARIANTS if v.row != PARTIAL or PARTIAL in listed]
    known = {variant.row for variant in VARIANTS}
    return (*usual, *(Variant(row, row) for row in listed if row not in known))


def _measured(record: Record, variant: Variant) -> Mapping[str, Any]:
    found = record.result.get("multi_scale") if variant.multi_scale else record.result
    return found if isinstance(found, Mapping) else {}


def class_iou(name: str, variant: Variant) -> Callable[[Record], float | None]:
    """IoU of the class `name`; None where the record has none."""

    def of(record: Record) -> float | None:
        names, values = record.result.get("class_names", ()), _measured(record, variant).get("iou")
        if name not in names or not values or len(values) != len(names):
            return None
        value: float | None = values[names.index(name)]
        return value

    return of


def mean_iou(names: Sequence[str], key: str, variant: Variant) -> Callable[[Record], float | None]:
    """Mean IoU over some classes; None where the record has none.

    Args:
        names: classes of the mean; where they are all classes of the trial, it is its mIoU.
        key: name of the mean in the record, for part of the classes.
        variant: row whose figures are meant.
    """

    def of(record: Record) -> float | None:
        found = _measured(record, variant)
        if set(record.result.get("class_names", ())) == set(names):
            return found.get("miou")
        value: float | None = (found.get("means") or {}).get(key)
        return value

    return of


def protocol_notes(records: Records) -> list[str]:
    """Sentences on the protocols and scales of the measured rows."""
    done = [record.result for record in records.values() if record and record.result]
    protocols = list(dict.fromkeys(filter(None, map(_protocol, done))))
    scales = list(dict.fromkeys(filter(None, map(_scales, done))))
    lines = [f"Measured rows: protocol {text}." for text in protocols[:1]]
    lines += [f"Measured with multi-scale testing (MST): {text}." for text in scales[:1]]
    for what, found in (("protocols", protocols), ("scales of MST", scales)):
        if len(found) > 1:
            lines.append(f"WARNING: trials of different {what} are mixed: {'; '.join(found)}.")
    return lines


def _protocol(result: Mapping[str, Any]) -> str:
    given = result.get("protocol") or {}
    sizes = [given.get(f"{what}_size") or [] for what in ("input", "label")]
    if not given.get("name") or not all(isinstance(s, list) and len(s) == 2 for s in sizes):
        return str(given.get("name", ""))
    images, labels = (f"{width}x{height}" for height, width in sizes)
    corners = "aligned" if given.get("align_corners") else "not aligned"
    return (
        f"{given['name']} (images of {images}, labels of {labels}, logits enlarged with corners "
        f"{corners})"
    )


def _scales(result: Mapping[str, Any]) -> str:
    given = result.get("multi_scale") or {}
    if not given.get("scales"):
        return ""
    known = PROTOCOLS.get((result.get("protocol") or {}).get("name", ""))
    mirrored = ", each also mirrored" if given.get("flip") else ""
    scales = ", ".join(f"{scale:g}" for scale in given["scales"])
    return f"scales {scales}{mirrored}; {known.scales_by if known else 'the paper gives none'}"
