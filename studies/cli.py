"""What every study's command shares: its options, the list, the run and its exit code.

Ray, torch and Matplotlib take seconds to import: commands do it where something runs, and not for
--list, --help or an error of the command line.
"""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from studies.arguments import OneLineParser
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.files import refuse_file, refuse_unwritable
from stvm.records.results import Results
from stvm.records.tensorboard_events import require_tensorboard
from stvm.settings import Settings, parse_assignments
from stvm.settings.presets import PRESETS
from stvm.source_model.location import uses_local_files
from stvm.study import Rename, Studies, Study, Trial
from stvm.tune.consent import missing_folders, refuse_missing_files
from stvm.tune.options import RunOptions

Builder = Callable[[str, dict[str, str], Sequence[int], Sequence[int] | None], Study]
"""Preset, changed settings, seeds and realisations to a study."""

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def study_parser(about: str, seeds: Sequence[int], presets: bool = True) -> argparse.ArgumentParser:
    """The options that every study has.

    Args:
        about: the study.
        seeds: without --seeds.
        presets: it starts from any preset, and draws the embedded benchmark anew.
    """
    parser = OneLineParser(
        description=about,
        usage="%(prog)s [options] [setting=value ...]",
        epilog="any setting of stvm/groups/ can be changed, as in alpha=4 iterations=400",
    )
    parser.add_argument("--seeds", nargs="+", type=whole_number, default=list(seeds), metavar="N")
    if presets:
        parser.add_argument("--preset", default="demo", help=f"one of {', '.join(PRESETS)}")
        parser.add_argument(
            "--realisations",
            nargs="+",
            type=whole_number,
            metavar="N",
            help="of the embedded benchmark: new images and a new source model each",
        )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument(
        "--list",
        nargs="?",
        const="all",
        choices=("all", "missing"),
        help="show the trials, all or those that are missing, and run nothing",
    )
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again")
    add_machine_options(parser)
    return parser


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """The options that `options_of` reads."""
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR")
    parser.add_argument("--cpus-per-trial", type=positive, metavar="N")
    parser.add_argument("--gpus-per-trial", type=_share, metavar="X", help="a part, 0, 1, 2, ...")
    parser.add_argument("--address", help="of a running Ray cluster")
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="curves and pictures of each trial below DIR/tensorboard",
    )
    parser.add_argument(
        "--keep-every",
        type=positive,
        default=RunOptions.keep_every,
        metavar="S",
        help="seconds between the states from which an interrupted trial goes on "
        f"({RunOptions.keep_every:g})",
    )
    _add_consents(parser)


def _add_consents(parser: argparse.ArgumentParser) -> None:
    """Options that say yes to what is refused without them."""
    add = parser.add_argument
    add("--on-cpu", action="store_true", help="run without a GPU what takes hours or days there")
    add(
        "--from-scratch",
        action="store_true",
        help="train a full-size source model from random weights",
    )


def options_of(options: argparse.Namespace) -> RunOptions:
    """What a trial may use, as the command line says."""
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


def whole_number(text: str, least: int = 0) -> int:
    """For argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def positive(text: str) -> int:
    """For argparse."""
    return whole_number(text, least=1)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not (0 <= value <= 1 or value.is_integer() and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is neither in 0..1 nor a whole number")
    return value


def renaming(results: Results, cache: Path) -> Rename:
    """Gives the settings of a trial on a user's files those whose hash is its name.

    Raises:
        StvmError: when it is called, as `stvm.trial.recorded_name.named`.
    """

    def rename(settings: Settings) -> Settings:
        if not uses_local_files(settings):
            return settings
        # Here, since NumPy and Pillow load for those who bring files alone.
        from stvm.trial.recorded_name import named

        return named(settings, results, contents)

    contents = Contents(cache)
    return rename


def refuse_other_files_of(trials: Iterable[Trial], results: Results, cache: Path) -> None:
    """As `stvm.trial.recorded_name.refuse_other_files`, for the trials of a study."""
    given = [trial.settings for trial in trials if uses_local_files(trial.settings)]
    if given:
        from stvm.trial.recorded_name import refuse_other_files

        refuse_other_files(given, results, Contents(cache))


def check_machine(results: Results, run_options: RunOptions) -> None:
    """Try what the command line says of the machine before Ray, which takes seconds, is started.

    Raises:
        StvmError: a package is missing, or a folder cannot be written to.
    """
    if run_options.tensorboard:
        require_tensorboard()
    refuse_unwritable(results.root, "--results")
    refuse_unwritable(run_options.cache, "--cache")


def list_trials(study: Study | Studies, results: Results, only_missing: bool = False) -> None:
    """Print every trial with what is recorded of it, or those of which nothing is."""
    print(study.title)
    first: dict[str, str] = {}
    recorded = failed = 0
    for trial in study.trials:
        if trial.hash in first:
            if not only_missing:
                print(f"  {trial.hash}  {trial.label:32s}  the same trial as {first[trial.hash]}")
            continue
        first[trial.hash] = trial.label
        record = results.read(trial.hash)
        state = "missing"
        if record and record["status"] == "failed":
            failed += 1
            state = f"failed: {record['failure']['error']}"
        elif record:
            state = f"mIoU {100 * record['result']['miou']:.1f}"
        recorded += record is not None
        if record is None or not only_missing:
            print(f"  {trial.hash}  {trial.label:32s}  {state}")
    and_failed = f", {failed} of them failed" if failed else ""
    print(
        f"{len(study.trials)} cells, {len(first)} trials: {recorded} recorded{and_failed} in "
        f"{results.root}, {len(first) - recorded} missing"
    )


def print_errors(errors: Iterable[str]) -> None:
    """Each error once on stderr."""
    for error, count in Counter(errors).items():
        print(f"error: {error}{f' ({count} times)' if count > 1 else ''}", file=sys.stderr)


def run(
    study: Study | Studies, results: Results, run_options: RunOptions, retry_failed: bool
) -> int:
    """Run what is missing and say what came of it; the exit code."""
    from stvm.tune.run_study import execute
    from stvm.tune.tasks import Interrupted

    total = len({trial.hash for trial in study.trials})

    def recorded() -> int:
        return total - len(study.missing(results))

    before = recorded()
    if before < total or retry_failed:
        check_machine(results, run_options)
    print(f"{study.title}\n{before} of {total} trials recorded", flush=True)
    try:
        finished = execute(study, results, run_options, retry_failed)
    except Interrupted:
        print(
            f"interrupted: {recorded()} of {total} trials recorded, {total - recorded()} left; "
            "the same command goes on",
            file=sys.stderr,
        )
        return 130
    print_errors(finished.errors)
    failed: set[str] = set()
    for trial in study.trials:
        record = results.read(trial.hash)
        if record and record["status"] == "failed":
            failed.add(trial.hash)
            print(f"failed: {trial.label}: {record['failure']['error']}", file=sys.stderr)
    and_failed = f", {len(failed)} of them failed" if failed else ""
    print(f"{recorded()} of {total} trials recorded{and_failed} in {results.root}", flush=True)
    return 1 if finished.errors or failed else 0


def run_command(
    parser: argparse.ArgumentParser,
    act: Callable[[argparse.Namespace, dict[str, str]], int],
    arguments: Sequence[str] | None,
) -> int:
    """Read a command line and act; the exit code, which is 2 and one line for bad input.

    Args:
        parser: of the options.
        act: given the options and the changed settings.
        arguments: None for those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Taken out first: `--seeds 0 1 alpha=4` would else read alpha=4 as a seed.
    assignments = [item for item in given if ASSIGNMENT.match(item)]
    options = parser.parse_args([item for item in given if item not in assignments])
    try:
        return act(options, parse_assignments(assignments))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run_study(study: Study | Studies, options: argparse.Namespace) -> int:
    """List a study or run it, as its options say; the exit code."""
    refuse_file(options.results, "--results")
    results = Results(options.results)
    refuse_missing_files(trial.settings for trial in study.trials)
    study = study.renamed(renaming(results, options.cache))
    refuse_other_files_of(study.trials, results, options.cache)
    if options.list:
        for line in missing_folders(trial.settings for trial in study.trials):
            print(line, file=sys.stderr)
        list_trials(study, results, only_missing=options.list == "missing")
        return 0
    return run(study, results, options_of(options), options.retry_failed)


def study_main(
    build: Builder,
    about: str,
    arguments: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
) -> int:
    """A study as a command; returns its exit code: 0, 1 failures, 2 bad input, 130 stopped."""

    def act(options: argparse.Namespace, changes: dict[str, str]) -> int:
        study = build(options.preset, changes, options.seeds, options.realisations)
        return run_study(study, options)

    return run_command(study_parser(about, seeds), act, arguments)
