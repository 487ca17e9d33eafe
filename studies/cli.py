"""The course of a study's command: read the command line, list or run, return an exit code.

Ray, torch and Matplotlib take seconds to import. So they are imported where something runs, and
not for --list, --help or a wrong command line.
"""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from studies.recorded_trials import Recorded, look
from studies.study_options import options_of, study_parser
from stvm.data.fingerprints import Contents
from stvm.errors import USER_ERRORS, told_of
from stvm.files import refuse_unwritable
from stvm.records.results import Results
from stvm.records.results_folder import refuse_part_of_results
from stvm.records.tensorboard_events import require_tensorboard
from stvm.settings import Settings, parse_assignments
from stvm.source_model.location import uses_local_files
from stvm.study import Rename, Studies, Study, Trial
from stvm.tune.confirmations import missing_folders, refuse_missing_files
from stvm.tune.options import RunOptions

Builder = Callable[[str, dict[str, str], Sequence[int], Sequence[int] | None], Study]
"""A function from preset, changed settings, seeds and realisations to a study."""

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def renaming(results: Results, cache: Path) -> Rename:
    """A function that completes the settings of a trial on a user's own files.

    The files' contents are part of the trial's name. The function reads them (or finds them in
    the cache) and returns the settings whose hash is that name.

    Raises:
        StvmError: a file cannot be read; raised when the function is called.
    """

    def rename(settings: Settings) -> Settings:
        if not uses_local_files(settings):
            return settings
        # Imported here: only trials on a user's own files need NumPy and Pillow.
        from stvm.trial.recorded_name import named

        return named(settings, results, contents)

    contents = Contents(cache)
    return rename


def refuse_other_files_of(trials: Iterable[Trial], results: Results, cache: Path) -> None:
    """Refuse trials that were recorded with other files at the same path.

    Raises:
        StvmError: there is one; the message names its record.
    """
    given = [trial.settings for trial in trials if uses_local_files(trial.settings)]
    if given:
        from stvm.trial.recorded_name import refuse_other_files

        refuse_other_files(given, results, Contents(cache))


def check_machine(results: Results, run_options: RunOptions) -> None:
    """Check folders and packages before Ray is started, which takes seconds.

    Raises:
        StvmError: a package is missing, or a folder cannot be written to.
    """
    if run_options.tensorboard:
        require_tensorboard()
    refuse_unwritable(results.root, "--results")
    refuse_unwritable(run_options.cache, "--cache")


def list_trials(study: Study | Studies, results: Results, only_missing: bool = False) -> list[str]:
    """Print every trial and its result, or only the trials without a record.

    Returns:
        A line for each record that cannot be read; its trial is listed all the same.
    """
    found = look(study, results)
    print(study.title)
    first: dict[str, str] = {}
    for trial in study.trials:
        if trial.hash in first:
            if not only_missing:
                print(f"  {trial.hash}  {trial.label:32s}  the same trial as {first[trial.hash]}")
            continue
        first[trial.hash] = trial.label
        state = _state_of(trial, found)
        if state == _MISSING or not only_missing:
            print(f"  {trial.hash}  {trial.label:32s}  {state}")
    print(
        f"{len(study.trials)} cells, {len(first)} trials: {found.count} recorded"
        f"{found.and_failed} in {results.root}, {found.missing} missing{found.and_unread}"
    )
    return found.unread


_MISSING = "missing"


def _state_of(trial: Trial, found: Recorded) -> str:
    """What a list says of a trial: its result, why it failed, or that there is no record."""
    if trial.hash not in found.records:
        return "cannot be read"
    record = found.records[trial.hash]
    if record is None:
        return _MISSING
    return f"failed: {record.reason}" if record.miou is None else f"mIoU {100 * record.miou:.1f}"


def print_errors(errors: Iterable[str]) -> None:
    """Each error once on stderr."""
    for error, count in Counter(errors).items():
        print(f"error: {error}{f' ({count} times)' if count > 1 else ''}", file=sys.stderr)


def print_left_out(lines: Iterable[str]) -> None:
    """A line on stderr for each file without which a command goes on."""
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


def run(
    study: Study | Studies, results: Results, run_options: RunOptions, retry_failed: bool
) -> int:
    """Run the trials without a record and print the outcome.

    Returns:
        The exit code: 0, 1 after failed trials, 2 where a record cannot be read, 130 if stopped.
    """
    from stvm.tune.run_study import execute
    from stvm.tune.tasks import Interrupted

    before = look(study, results)
    if before.missing or retry_failed:
        check_machine(results, run_options)
    print(f"{study.title}\n{before.told()}", flush=True)
    print_left_out(before.unread)
    try:
        finished = execute(study, results, run_options, retry_failed)
    except Interrupted:
        stopped = look(study, results)
        print(
            f"interrupted: {stopped.told()}, {stopped.missing} left; the same command goes on",
            file=sys.stderr,
        )
        return 130
    now = look(study, results)
    errors = [error for error in finished.errors if error not in now.unread]
    print_errors(errors)
    for trial in study.trials:
        if trial.hash in now.failed:
            print(f"failed: {trial.label}: {now.failed[trial.hash]}", file=sys.stderr)
    # Told again after hours of other lines.
    if before.missing or retry_failed or now.unread != before.unread:
        print_left_out(now.unread)
    print(f"{now} in {results.root}", flush=True)
    if now.unread:
        return 2
    return 1 if errors or now.failed else 0


def run_command(
    parser: argparse.ArgumentParser,
    act: Callable[[argparse.Namespace, dict[str, str]], int],
    arguments: Sequence[str] | None,
    refuse: Callable[[argparse.Namespace, list[str]], None] | None = None,
) -> int:
    """Read a command line and act on it.

    Args:
        parser: the parser of its options.
        act: a function of the options and the changed settings; it returns the exit code.
        arguments: the words of the command line; None for those of this process.
        refuse: a function that refuses options and words NAME=VALUE before these become settings.

    Returns:
        The exit code: that of `act`, 2 for bad input (after one line on stderr), 130 if stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Taken out first, or `--seeds 0 1 alpha=4` would read alpha=4 as a seed.
    assignments = [item for item in given if ASSIGNMENT.match(item)]
    options = parser.parse_args([item for item in given if item not in assignments])
    try:
        if refuse:
            refuse(options, assignments)
        return act(options, parse_assignments(assignments))
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except USER_ERRORS as error:
        print(f"error: {told_of(error)}", file=sys.stderr)
        return 2


def run_study(study: Study | Studies, options: argparse.Namespace) -> int:
    """List a study or run it, as the options say; the exit code."""
    refuse_part_of_results(options.results)
    results = Results(options.results)
    refuse_missing_files(trial.settings for trial in study.trials)
    study = study.renamed(renaming(results, options.cache))
    refuse_other_files_of(study.trials, results, options.cache)
    if options.list:
        for line in missing_folders(trial.settings for trial in study.trials):
            print(line, file=sys.stderr)
        wrong = list_trials(study, results, only_missing=options.list == "missing")
        print_errors(wrong)
        return 2 if wrong else 0
    return run(study, results, options_of(options), options.retry_failed)


def study_main(
    build: Builder,
    about: str,
    arguments: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
) -> int:
    """Run a study as a command.

    Args:
        build: the function that lists the trials of the study.
        about: text for --help.
        arguments: the words of the command line; None for those of this process.
        seeds: seeds where --seeds is not given.

    Returns:
        The exit code: 0, 1 after failed trials, 2 for bad input or a record that cannot be read,
        130 if stopped.
    """

    def act(options: argparse.Namespace, changes: dict[str, str]) -> int:
        study = build(options.preset, changes, options.seeds, options.realisations)
        return run_study(study, options)

    return run_command(study_parser(about, seeds), act, arguments)
