"""Studies of Tables I to III: one for each scenario and network, for Cross-City for each city."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from reports.sheets.rows import Records
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command

STUDY = "scenarios"
"""Kind of study that the tables are made from."""
NETWORKS = {"deeplabv2_resnet101": "DL V2", "deeplabv3_resnet50": "DL V3"}
"""Labels of the paper's networks, as Table III abbreviates them, by setting."""
CITIES = {"rome": "Rome", "rio": "Rio", "tokyo": "Tokyo", "taipei": "Taipei"}
"""Labels of the cities of Cross-City by setting."""
CROSS_CITY_SCENARIO = "cityscapes_crosscity"
SCENARIOS = ("gta5_cityscapes", "synthia_cityscapes", CROSS_CITY_SCENARIO)
"""Scenarios of Tables I, II and III, in this order."""


@dataclass(frozen=True)
class ScenarioStudy:
    """Study of one scenario and network, for Cross-City of one city.

    Attributes:
        manifest: list of the study's trials.
        records: record of each trial; None where there is none.
        scenario: name in `SCENARIOS`.
        network: setting of the network.
        city: setting of the city; empty for the other scenarios.
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


def identify(manifest: Manifest) -> tuple[str, str, str]:
    """Scenario, network and city of a study.

    Raises:
        StvmError: its facts do not name them.
    """
    facts = manifest.facts
    scenario, network, city = (facts.get(name, "") for name in ("scenario", "network", "city"))
    known = scenario in SCENARIOS and isinstance(network, str) and bool(network)
    if not known or city not in ("", *CITIES) or (scenario == CROSS_CITY_SCENARIO) != bool(city):
        raise StvmError(
            f"study {manifest.base}: its facts name no scenario, network and city "
            f"({scenario!r}, {network!r}, {city!r}): run `{command(STUDY)}` again"
        )
    return scenario, network, city


def choose(manifests: Iterable[Manifest], bases: Collection[str] = ()) -> list[Manifest]:
    """One study for each scenario, network and city: the named one, else the one updated last.

    Args:
        manifests: studies of scenarios.
        bases: bases of studies to take in place of those updated last.

    Raises:
        StvmError: two named studies are of one scenario, network and city.
    """
    groups: dict[tuple[str, str, str], list[Manifest]] = {}
    for manifest in manifests:
        groups.setdefault(identify(manifest), []).append(manifest)
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


def scenario_command(scenario: str) -> str:
    """Command that runs the studies of a scenario."""
    return f"{command(STUDY)} --scenario {scenario.replace('_', '-')}"


def _place(key: tuple[str, str, str]) -> tuple[Any, ...]:
    """Numbers that sort studies in the paper's order; other networks come last."""
    scenario, network, city = key
    networks = [*NETWORKS, network]
    place = networks.index(network)
    return SCENARIOS.index(scenario), place, network, ["", *CITIES].index(city)


def network_label(network: str) -> str:
    """Label of a network as the tables abbreviate it."""
    return NETWORKS.get(network, network)


def networks_of(studies: Iterable[ScenarioStudy]) -> list[str]:
    """The paper's networks, then others that have a study."""
    return list(dict.fromkeys([*NETWORKS, *sorted(study.network for study in studies)]))
