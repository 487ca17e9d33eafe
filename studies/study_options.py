"""The options that every study has, and those that say what a run may use."""

import argparse
from collections.abc import Sequence

from studies.arguments import (
    add_places,
    gpu_share,
    positive,
    preset_name,
    whole_number,
)
from stvm.option_parser import OneLineParser
from stvm.settings.presets import PRESETS
from stvm.tune.options import RunOptions


def study_parser(about: str, seeds: Sequence[int], presets: bool = True) -> argparse.ArgumentParser:
    """The options that every study has.

    Args:
        about: text that --help shows first; its lines stay as they are.
        seeds: seeds where --seeds is not given.
        presets: the study has --preset and --realisations.
    """
    parser = OneLineParser(
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [options] [setting=value ...]",
        epilog="Any setting can be changed by its name, as in alpha=4 iterations=400.\n"
        "python -m studies settings lists them.",
    )
    add = parser.add_argument
    add(
        "--seeds",
        nargs="+",
        type=whole_number,
        default=list(seeds),
        metavar="N",
        help=f"seeds of the trials ({' '.join(map(str, seeds))})",
    )
    if presets:
        add(
            "--preset",
            type=preset_name,
            default="demo",
            help=f"settings to start from: {', '.join(PRESETS)}",
        )
        add(
            "--realisations",
            nargs="+",
            type=whole_number,
            metavar="N",
            help="draws of the embedded benchmark: new images and a new source model each",
        )
    add_places(parser, "--results")
    add(
        "--list",
        nargs="?",
        const="all",
        choices=("all", "missing"),
        help="list the trials, all or those without a record, and run nothing",
    )
    add("--retry-failed", action="store_true", help="run failed trials again")
    add_machine_options(parser)
    return parser


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `options_of` reads."""
    add = parser.add_argument
    add_places(parser, "--cache")
    add("--cpus-per-trial", type=positive, metavar="N", help="CPU cores for each trial")
    add(
        "--gpus-per-trial",
        type=gpu_share,
        metavar="X",
        help="GPUs for each trial: a part of one (0.5), or 0, 1, 2, ...",
    )
    add("--address", help="address of a running Ray cluster to join")
    add(
        "--tensorboard",
        action="store_true",
        help="write curves and pictures of each trial to RESULTS/tensorboard",
    )
    add(
        "--keep-every",
        type=positive,
        default=RunOptions.keep_every,
        metavar="S",
        help="seconds between saved states, from which an interrupted trial resumes "
        f"({RunOptions.keep_every:g})",
    )
    add(
        "--on-cpu",
        action="store_true",
        help="run without a GPU even if that takes hours or days",
    )
    add(
        "--from-scratch",
        action="store_true",
        help="train a full-size source model from random weights",
    )


def options_of(options: argparse.Namespace) -> RunOptions:
    """The resources and permissions of a run, as the command line gives them."""
    return RunOptions(
        options.cpus_per_trial,
        options.gpus_per_trial,
        options.address,
        options.cache,
        options.tensorboard,
        options.keep_every,
        options.on_cpu,
        options.from_scratch,
    )
