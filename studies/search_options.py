"""The options of a search, and the plan that they describe."""

import argparse

from studies.arguments import positive, whole_number
from studies.study_options import study_parser
from stvm.errors import StvmError, known_name
from stvm.files import checked_name
from stvm.records.selection_scores import SELECTION_SCORES, find_selection_score
from stvm.search.plan import Plan
from stvm.search.space import DEFAULT_PARAMETERS, find_parameters, searchable
from stvm.search.storage import PRUNERS, SAMPLERS, find_sampler
from stvm.settings.presets import find_preset

DEFAULT_OBJECTIVE = "agreement"
REPORT_SEEDS = [0, 1, 2, 3, 4]
SEARCH_SEED = 1000


def search_parser(about: str) -> argparse.ArgumentParser:
    """The options of every study and those of a search; --help shows `about` first."""
    options = study_parser(about, REPORT_SEEDS)
    _add_choices(options.add_argument_group("search"))
    return options


def _add_choices(group: argparse._ArgumentGroup) -> None:
    """How the search chooses, on which trials, and where it keeps what it knows."""
    add = group.add_argument
    add(
        "--trials",
        type=positive,
        default=30,
        metavar="N",
        help="number of finished trials to reach (30)",
    )
    add(
        "--objective",
        default=DEFAULT_OBJECTIVE,
        help=f"score to choose by: {', '.join(SELECTION_SCORES)}; miou is an oracle",
    )
    add(
        "--parameters",
        nargs="+",
        default=list(DEFAULT_PARAMETERS),
        metavar="SETTING",
        help=f"settings to search: {', '.join(searchable())}",
    )
    add("--sampler", default="tpe", help=f"one of {', '.join(SAMPLERS)}")
    add(
        "--sampler-seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="seed of the suggestions (0)",
    )
    add("--pruner", default="none", help=f"one of {', '.join(PRUNERS)}")
    add(
        "--search-seed",
        type=whole_number,
        default=SEARCH_SEED,
        metavar="N",
        help=f"seed of the search trials ({SEARCH_SEED}); it may not be one of --seeds",
    )
    add(
        "--search-realisation",
        type=whole_number,
        metavar="N",
        help="draw of the embedded benchmark for the search trials",
    )
    add(
        "--storage",
        metavar="URL",
        help="Optuna's storage: a URL, or a .db or .log file (RESULTS/searches/NAME.db)",
    )
    add("--name", default="", help="name of the search (made from what is searched)")


def build_plan(options: argparse.Namespace, changes: dict[str, str]) -> Plan:
    """The plan of a search, from a command line.

    Raises:
        StvmError: an unknown name, or a seed that is both a search seed and one of --seeds.
    """
    preset = find_preset(options.preset)
    for name, option in (("seed", "--seeds, --search-seed"), ("realisation", "--realisations")):
        if name in changes:
            raise StvmError(f"'{name}' is what this study varies: leave it out, use {option}")
    if options.search_seed in options.seeds:
        raise StvmError(
            f"--search-seed {options.search_seed} is one of --seeds: a setting that is chosen on a "
            "seed must be reported on other seeds"
        )
    base = preset.settings(**changes)
    if base.data.dataset != "streets" and (
        options.realisations or options.search_realisation is not None
    ):
        raise StvmError("realisations are draws of the embedded benchmark: leave them out")
    asked = options.search_realisation
    realisation = preset.realisation if asked is None else asked
    return Plan(
        preset=options.preset,
        base=base,
        parameters=find_parameters(options.parameters, base),
        score=find_selection_score(options.objective),
        sampler=find_sampler(options.sampler),
        sampler_seed=options.sampler_seed,
        pruner=known_name("pruner", options.pruner, PRUNERS),
        seed=options.search_seed,
        realisation=realisation,
        tuned=realisation in preset.tuned,
        given_name=options.name and checked_name(options.name, "--name"),
    )
