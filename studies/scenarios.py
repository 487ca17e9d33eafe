"""`python studies/scenarios.py`: the paper's three adaptations on its data sets.

Question: Tables I to III: what does STvM reach on the paper's data sets?
Command: python studies/scenarios.py --scenario gta5-cityscapes source_checkpoint=FILE
Cost: 4 trials, 11 GPU h
Expected: docs/results.md, "The paper's scale, without a GPU"

`--scenario` is `gta5-cityscapes` (Table I), `synthia-cityscapes` (Table II) or
`cityscapes-crosscity` (Table III, four cities). `--network` is `deeplabv2` or `deeplabv3`. The
rows are the source model, AdaBN, partial AdaBN, and STvM at its last iteration. One trial measures
both at one scale and at several (MST). `--rows CBST:5e-5` adds objectives of others, each with its
learning rate. The cost is an estimate; the tables were not run yet.
"""

import argparse
import sys
from collections.abc import Sequence

from studies.ablation import BASELINES, VARIANTS
from studies.arguments import one_of
from studies.cli import run_command, run_study
from studies.objective_plan import all_candidates, rows_as_settings, rows_named
from studies.study_builder import StudyBuilder, describe_changes, unique
from studies.study_options import study_parser
from stvm.errors import StvmError
from stvm.settings import Settings
from stvm.settings.peers import PEERS, fields_of
from stvm.settings.presets import CITIES, NETWORKS, SCENARIOS, scenario_preset
from stvm.study import Studies, Study

TABLES = {"gta5-cityscapes": 1, "synthia-cityscapes": 2, "cityscapes-crosscity": 3}
ROWS = ("Source", "AdaBN", "partial AdaBN")
"""Rows without adaptation, which have one trial each and no seeds."""


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    rows: Sequence[str] = (),
) -> Study:
    """Trials of one scenario with one network, in one city.

    Args:
        preset_name: name of the preset.
        changes: settings given by the user.
        seeds: seeds of the rows that adapt.
        rows: objectives of others, as ROW or ROW:RATE.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    for name in ("dataset", "city"):
        if name in changes:
            raise StvmError(f"'{name}' is set by --scenario and --cities: leave it out")
    refuse_network(changes)
    refuse_own_settings(changes)
    builder = StudyBuilder(preset_name, changes, None, ("adabn_share",))
    here = builder.at(0)
    trials = [builder.trial(row, None, 0, here.replace(**BASELINES[row])) for row in ROWS]
    trials += [
        builder.trial("STvM", seed, 0, here.replace(seed=seed, **VARIANTS["STvM"]))
        for seed in unique(seeds)
    ]
    trials += [
        builder.trial(name, seed, 0, settings.replace(seed=seed))
        for name, settings in objective_rows(here, rows).items()
        for seed in unique(seeds)
    ]
    data = here.data
    scenario = data.dataset.replace("_", "-")
    return builder.study(
        "scenarios",
        TABLES[scenario],
        " ".join(part for part in (scenario, data.city) if part),
        trials,
        scenario=data.dataset,
        network=here.network.network,
        city=data.city,
    )


def objective_rows(here: Settings, rows: Sequence[str]) -> dict[str, Settings]:
    """Settings of each objective that is asked for, as ROW or ROW:RATE, by the name of its row.

    A rate is part of the row's name, so that a row never mixes two.

    Raises:
        StvmError: an unknown row, or a rate that is no number.
    """
    candidates = {c.row: c for c in all_candidates() if "procedure" in c.changes}
    found = {}
    for text in rows:
        asked, colon, rate = text.partition(":")
        for name in rows_named(asked, list(candidates.values())):
            settings = here.replace(**candidates[name].changes)
            if colon:
                try:
                    settings = settings.replace(lr=rate)
                except StvmError as error:
                    raise StvmError(f"--rows {text}: {error}; write it as in CBST:5e-5") from None
                name = f"{name}, lr={settings.training.lr:g}"
            found[name] = settings
    return found


def refuse_network(changes: dict[str, str]) -> None:
    """Refuse another network by its setting: --network chooses the paper's rows to compare with.

    The small network of tests is allowed; no row of the paper is compared with it.

    Raises:
        StvmError: the setting names a full-size network.
    """
    asked = changes.get("network", "small_deeplab")
    if asked != "small_deeplab":
        short = {full: name for name, full in NETWORKS.items()}.get(asked)
        use = f"use --network {short}" if short else f"it is one of {', '.join(NETWORKS)}"
        raise StvmError(f"'network' is set by --network: leave network={asked} out; {use}")


def refuse_own_settings(changes: dict[str, str]) -> None:
    """Refuse settings of single objectives: the rows of --rows have the usual ones.

    Raises:
        StvmError: there is one.
    """
    owned = {name for peer in PEERS for name in fields_of(peer)}
    if name := next((name for name in changes if name in owned), ""):
        raise StvmError(
            f"{name} belongs to an objective, and --rows takes the usual settings of each: leave "
            "it out, or use studies/objectives.py, which takes it"
        )


def refuse_rows_as_settings(options: argparse.Namespace, assignments: list[str]) -> None:
    """Refuse a row whose rate is given with `=`, which makes a setting of it.

    Raises:
        StvmError: there is one, or --rows has no value.
    """
    wrong = rows_as_settings([*assignments, *(options.rows or ())])
    if wrong or options.rows == []:
        mend = f", so write {wrong[0].replace('=', ':', 1)}" if wrong else ""
        raise StvmError(
            "--rows takes ROW or ROW:RATE, as in CBST:5e-5; NAME=VALUE is always a setting" + mend
        )


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
            scenario_preset(options.scenario, options.network, city),
            changes,
            options.seeds,
            options.rows or (),
        )
        for city in cities
    )
    return Studies(parts, f"{options.scenario} with {options.network}{describe_changes(changes)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = study_parser(__doc__ or "", (0,), presets=False)
    add = parser.add_argument
    add(
        "--scenario",
        **one_of(SCENARIOS),
        default="gta5-cityscapes",
        help="source and target (gta5-cityscapes)",
    )
    add("--network", **one_of(NETWORKS), default="deeplabv2", help="network (deeplabv2)")
    add(
        "--cities",
        nargs="+",
        **one_of(CITIES),
        metavar="CITY",
        help=f"cities of Cross-City (all): {', '.join(CITIES)}",
    )
    add(
        "--rows",
        # Not "+", whose error says nothing of a rate that was given with "=".
        nargs="*",
        metavar="ROW[:RATE]",
        help="objectives of others to measure too, each with its learning rate, as in "
        "--rows CBST:5e-5 MinEnt:2.5e-6; without a rate the preset's",
    )

    def act(options: argparse.Namespace, changes: dict[str, str]) -> int:
        return run_study(build(options, changes), options)

    return run_command(parser, act, arguments, refuse_rows_as_settings)


if __name__ == "__main__":
    sys.exit(main())
