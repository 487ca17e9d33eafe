"""Run the failed trials again; each failed record is set aside in `retried/`, not lost."""

import argparse
import sys
from dataclasses import dataclass

from studies.arguments import add_places
from studies.cli import check_machine, print_errors, print_left_out, refuse_other_files_of
from studies.commands.lookup import find_name, manifest_paths, open_results, settings_of
from studies.recorded_trials import look
from studies.study_options import add_machine_options, options_of
from stvm.records.manifest import Trial as ListedTrial
from stvm.records.manifest import read_manifest
from stvm.records.passed_over import going_on
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.trial_label import has_seed, variant_of
from stvm.settings import digest
from stvm.study import Study, Trial
from stvm.tune.options import RunOptions


@dataclass(frozen=True)
class Retry(Study):
    """Trials of other studies once more; their manifests stay as they are.

    Attributes:
        left_out: a line for each failed record whose trial this version cannot run again, and for
            each file that cannot be read.
    """

    left_out: tuple[str, ...] = ()

    def write_manifest(self, results: Results) -> None:
        """Write none: the studies that list these trials have theirs."""


def build_retry(results: Results, study: str | None = None) -> Retry:
    """The failed trials, of one study or of all.

    Args:
        results: folder with their records.
        study: NAME-BASE of a manifest, or how it begins; None for all records.

    Raises:
        StvmError: no such study, or its manifest cannot be read.
    """
    left_out: list[str] = []
    manifests = []
    paths = {path.stem: path for path in manifest_paths(results)}
    if study is None:
        for path in paths.values():
            with going_on(left_out):
                manifests.append(read_manifest(path, empty=True))
        names = results.names()
    else:
        manifests = [read_manifest(paths[find_name(study, sorted(paths), "study")], empty=True)]
        names = sorted({trial.hash for trial in manifests[0].trials})
    listed = {trial.hash: trial for manifest in manifests for trial in manifest.trials}
    trials = []
    for name in names:
        with going_on(left_out):
            record = results.read(name)
            if record and not record.is_done:
                trials.append(_trial(record, listed.get(name)))
    return Retry(
        name="retry",
        table=0,
        preset="",
        base=digest({"trials": [trial.hash for trial in trials]}),
        title="Failed trials again",
        rule="",
        dataset="",
        trials=tuple(trials),
        left_out=tuple(left_out),
    )


def _trial(record: Record, listed: ListedTrial | None) -> Trial:
    """The trial as its study lists it; one of no study takes its variant from its label."""
    settings = settings_of(record)
    if listed:
        return Trial(listed.variant, listed.seed, listed.realisation, listed.tuned, settings)
    label = record.variant or record.hash
    return Trial(
        variant_of(label),
        settings.training.seed if has_seed(label) else None,
        settings.data.realisation,
        False,
        settings,
    )


def retry(study: Retry, results: Results, run_options: RunOptions) -> int:
    """Run them and say what came of it; the exit code, as that of a study."""
    from stvm.tune.run_study import execute
    from stvm.tune.tasks import Interrupted

    check_machine(results, run_options)
    print_left_out(study.left_out)
    print(f"{study.title}: {len(study.trials)}", flush=True)
    try:
        finished = execute(study, results, run_options, retry_failed=True)
    except Interrupted:
        print(
            "interrupted: the same command goes on with what still stands as failed; "
            "what was running is missing now, its study's command runs it",
            file=sys.stderr,
        )
        return 130
    now = look(study, results)
    print_errors(error for error in finished.errors if error not in now.unread)
    for trial in study.trials:
        if trial.hash in now.failed:
            print(f"failed: {trial.label}: {now.failed[trial.hash]}", file=sys.stderr)
    print_left_out(now.unread)
    done = now.count - len(now.failed)
    print(f"{done} of {len(study.trials)} done now", flush=True)
    if study.left_out or now.unread:
        return 2
    return 0 if done == len(study.trials) else 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_places(parser, "--results")
    parser.add_argument("--study", metavar="NAME-BASE", help="only what this study lists")
    add_machine_options(parser)


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code: 0 all done, 1 not all, 2 a file left out, 130 stopped."""
    results = open_results(options.results)
    study = build_retry(results, options.study)
    if not study.trials:
        print_left_out(study.left_out)
        print(f"no{' other' if study.left_out else ''} failed trials")
        return 2 if study.left_out else 0
    refuse_other_files_of(study.trials, results, options.cache)
    return retry(study, results, options_of(options))
