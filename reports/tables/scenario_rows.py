"""Tables I to III: which studies they are made of, the published rows, and the measured ones."""

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reports.sheets.rows import Records
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command
from stvm.records.record import Record
from stvm.settings.protocols import PROTOCOLS

STUDY = "scenarios"
"""Kind of study that the tables are made from."""
NETWORKS = {"deeplabv2_resnet101": "DL V2", "deeplabv3_resnet50": "DL V3"}
"""The paper's networks by setting, as Table III abbreviates them."""
CITIES = {"rome": "Rome", "rio": "Rio", "tokyo": "Tokyo", "taipei": "Taipei"}
SCENARIOS = {"gta5_cityscapes": "1", "synthia_cityscapes": "2", "cityscapes_crosscity": "3"}
"""Table of each scenario."""
_PUBLISHED = {
    "DeepLabV2-ResNet101": "deeplabv2_resnet101",
    "DeepLabV3-ResNet50": "deeplabv3_resnet50",
}
_PAPER = Path(__file__).resolve().parents[1] / "paper"


@dataclass(frozen=True)
class Part:
    """The study of one scenario and network, for Cross-City of one city.

    Attributes:
        city: empty for the other scenarios.
    """

    manifest: Manifest
    records: Records
    scenario: str
    network: str
    city: str

    @property
    def label(self) -> str:
        """Network and city for people."""
        return " ".join([network_label(self.network), CITIES.get(self.city, "")]).strip()


def key_of(manifest: Manifest) -> tuple[str, str, str]:
    """Scenario, network and city of a study.

    Raises:
        StvmError: its facts do not say them.
    """
    facts = manifest.facts
    scenario, network, city = (facts.get(name, "") for name in ("scenario", "network", "city"))
    known = scenario in SCENARIOS and isinstance(network, str) and bool(network)
    if not known or city not in ("", *CITIES) or (scenario == "cityscapes_crosscity") != bool(city):
        raise StvmError(
            f"study {manifest.base}: its facts name no scenario, network and city "
            f"({scenario!r}, {network!r}, {city!r}): run `{command(STUDY)}` again"
        )
    return scenario, network, city


def choose(manifests: Iterable[Manifest], bases: Collection[str] = ()) -> list[Manifest]:
    """The study of each scenario, network and city that was updated last, or is named.

    Args:
        manifests: of scenarios.
        bases: of studies to take in place of those updated last.

    Raises:
        StvmError: two named studies are of one scenario, network and city.
    """
    groups: dict[tuple[str, str, str], list[Manifest]] = {}
    for manifest in manifests:
        groups.setdefault(key_of(manifest), []).append(manifest)
    chosen = []
    for key, group in sorted(groups.items(), key=lambda item: _place(item[0])):
        named = [manifest.base for manifest in group if manifest.base in bases]
        if len(named) > 1:
            raise StvmError(
                f"--study names two studies of {', '.join(filter(None, key))}: {', '.join(named)}"
            )
        one = max(
            (m for m in group if not named or m.base in named), key=lambda m: (m.updated, m.base)
        )
        others = tuple(sorted(m.base for m in group if m.base != one.base))
        chosen.append(replace(one, others=others))
    return chosen


def run_command(scenario: str) -> str:
    """What makes the studies of a scenario."""
    return f"{command(STUDY)} --scenario {scenario.replace('_', '-')}"


def _place(key: tuple[str, str, str]) -> tuple[Any, ...]:
    """In the paper's order; other networks last."""
    scenario, network, city = key
    networks = [*NETWORKS, network]
    return SCENARIOS[scenario], networks.index(network), network, ["", *CITIES].index(city)


def network_label(network: str) -> str:
    """As the tables abbreviate it."""
    return NETWORKS.get(network, network)


def networks_of(parts: Iterable[Part]) -> list[str]:
    """The paper's networks, then others that have a study."""
    return list(dict.fromkeys([*NETWORKS, *sorted(part.network for part in parts)]))


@dataclass(frozen=True)
class PaperRow:
    """A row as published.

    Attributes:
        name: method, with "(w MST)" or "(w/o MST)" where the paper says so.
        network: setting.
        figures: in per cent by column of the file; None where the paper has none.
    """

    name: str
    network: str
    source_free: bool
    figures: Mapping[str, float | None]


_ABOUT = ("method", "network", "source_free", "multi_scale_test")
_MST = {"yes": " (w MST)", "no": " (w/o MST)", "": ""}


def read_paper(table: str, folder: Path = _PAPER) -> list[PaperRow]:
    """The published rows of Table I, II or III ("1", "2", "3"), in the paper's order."""
    with (folder / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return [
            PaperRow(
                line["method"] + _MST[line["multi_scale_test"]],
                _PUBLISHED[line["network"]],
                line["source_free"] == "yes",
                {k: float(v) if v else None for k, v in line.items() if k not in _ABOUT},
            )
            for line in csv.DictReader(file)
        ]


@dataclass(frozen=True)
class Variant:
    """A measured row.

    Attributes:
        row: of the study.
        name: in the table.
        multi_scale: measured with multi-scale testing.
        adapts: it sees the target; the source model does not.
    """

    row: str
    name: str
    multi_scale: bool = False
    adapts: bool = True


VARIANTS = (
    Variant("Source", "Source", adapts=False),
    Variant("AdaBN", "AdaBN"),
    Variant("STvM", "STvM (w/o MST)"),
    Variant("STvM", "STvM (w MST)", multi_scale=True),
)


def _measured(record: Record, variant: Variant) -> Mapping[str, Any]:
    found = record.result.get("multi_scale") if variant.multi_scale else record.result
    return found if isinstance(found, Mapping) else {}


def class_iou(name: str, variant: Variant) -> Callable[[Record], float | None]:
    """IoU of a class; None where the record has none."""

    def of(record: Record) -> float | None:
        names, values = record.result.get("class_names", ()), _measured(record, variant).get("iou")
        if name not in names or not values or len(values) != len(names):
            return None
        value: float | None = values[names.index(name)]
        return value

    return of


def mean_iou(names: Sequence[str], key: str, variant: Variant) -> Callable[[Record], float | None]:
    """Mean over classes: mIoU where these are all classes of the trial, else the mean `key`."""

    def of(record: Record) -> float | None:
        found = _measured(record, variant)
        if set(record.result.get("class_names", ())) == set(names):
            return found.get("miou")
        value: float | None = (found.get("means") or {}).get(key)
        return value

    return of


def protocol_notes(records: Records) -> list[str]:
    """Under which protocols and scales the measured rows stand."""
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
