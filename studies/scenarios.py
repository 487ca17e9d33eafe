"""`python studies/scenarios.py`: Tables I, II and III, the paper's three adaptations.

`--scenario gta5-cityscapes` (Table I), `synthia-cityscapes` (II) or `cityscapes-crosscity` (III,
four cities), each with `--network deeplabv2` or `deeplabv3`. Rows: the source model as it is,
AdaBN, and STvM at its last iteration, measured at one scale and at several (MST) in one trial.
"""

import argparse
import sys
from collections.abc import Sequence

from studies.ablation import BASELINES, VARIANTS
from studies.cli import run_command, run_study, study_parser
from studies.study_builder import StudyBuilder, describe_changes, unique
from stvm.errors import StvmError
from stvm.settings.presets import CITIES, NETWORKS, SCENARIOS, scenario_preset
from stvm.study import Studies, Study

TABLES = {"gta5-cityscapes": 1, "synthia-cityscapes": 2, "cityscapes-crosscity": 3}
ROWS = ("Source", "AdaBN")
"""Rows without adaptation: one trial each, whatever the seeds."""


def build_study(preset_name: str, changes: dict[str, str], seeds: Sequence[int]) -> Study:
    """Trials of one scenario with one network, in one city.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    for name in ("dataset", "city"):
        if name in changes:
            raise StvmError(f"'{name}' is what --scenario and --cities say: leave it out")
    refuse_network(changes)
    base = StudyBuilder(preset_name, changes, None)
    here = base.at(0)
    trials = [base.trial(row, None, 0, here.replace(**BASELINES[row])) for row in ROWS]
    trials += [
        base.trial("STvM", seed, 0, here.replace(seed=seed, **VARIANTS["STvM"]))
        for seed in unique(seeds)
    ]
    data = here.data
    scenario = data.dataset.replace("_", "-")
    return base.study(
        "scenarios",
        TABLES[scenario],
        " ".join(part for part in (scenario, data.city) if part),
        trials,
        scenario=data.dataset,
        network=here.network.network,
        city=data.city,
    )


def refuse_network(changes: dict[str, str]) -> None:
    """--network names the rows of the paper that a study stands beside.

    Raises:
        StvmError: another network by its setting; small_deeplab, of tests, stands beside none.
    """
    asked = changes.get("network", "small_deeplab")
    if asked != "small_deeplab":
        short = {full: name for name, full in NETWORKS.items()}.get(asked)
        use = f"use --network {short}" if short else f"it is one of {', '.join(NETWORKS)}"
        raise StvmError(f"'network' is what --network says: leave network={asked} out; {use}")


def build(options: argparse.Namespace, changes: dict[str, str]) -> Studies:
    """The studies that a command line asks for.

    Raises:
        StvmError: a bad setting, or cities for a scenario that has none.
    """
    crosses = options.scenario == "cityscapes-crosscity"
    if options.cities and not crosses:
        raise StvmError(
            f"--cities belong to cityscapes-crosscity: leave them out with {options.scenario}"
        )
    cities: list[str] = unique(options.cities or CITIES) if crosses else [""]
    parts = tuple(
        build_study(
            scenario_preset(options.scenario, options.network, city), changes, options.seeds
        )
        for city in cities
    )
    return Studies(parts, f"{options.scenario} with {options.network}{describe_changes(changes)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = study_parser(__doc__ or "", (0,), presets=False)
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), default="gta5-cityscapes")
    parser.add_argument("--network", choices=tuple(NETWORKS), default="deeplabv2")
    parser.add_argument(
        "--cities", nargs="+", choices=CITIES, metavar="CITY", help=", ".join(CITIES)
    )
    return run_command(
        parser, lambda options, changes: run_study(build(options, changes), options), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
