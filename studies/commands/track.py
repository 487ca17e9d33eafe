"""Recorded trials for trackers: TensorBoard, MLflow (a local store), Weights & Biases (offline).

Written from the records, whenever it is run; what is written already is left as it is.
"""

import argparse

from studies.arguments import add_places
from studies.cli import print_left_out
from studies.commands.lookup import find_name, manifest_paths, open_results
from stvm.records.manifest import read_manifest
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.tensorboard_events import require_tensorboard, write_missing
from stvm.records.trackers import TRACKERS, require, write


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "trackers", nargs="+", metavar="TRACKER", help=f"tensorboard, {', '.join(TRACKERS)}"
    )
    add_places(parser, "--results")
    parser.add_argument("--study", metavar="NAME-BASE", help="only what this study lists")


def _hashes(results: Results, study: str | None) -> list[str]:
    if study is None:
        return results.names()
    by_name = {path.stem: path for path in manifest_paths(results)}
    manifest = read_manifest(by_name[find_name(study, sorted(by_name), "study")], empty=True)
    return list(dict.fromkeys(trial.hash for trial in manifest.trials))


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    results = open_results(options.results)
    hashes, wrong = readable(results, _hashes(results, options.study))
    others = [name for name in options.trackers if name != "tensorboard"]
    require(others)
    if "tensorboard" in options.trackers:
        require_tensorboard()
        write_missing(results, hashes)
        print(f"{results.root / 'tensorboard'}: `tensorboard --logdir` shows it")
    for name, count in write(results, hashes, others).items():
        print(f"{results.root / name}: {count} new run{'s' * (count != 1)}")
    print_left_out(wrong)
    return 2 if wrong else 0


def readable(results: Results, hashes: list[str]) -> tuple[list[str], list[str]]:
    """The trials without those whose record cannot be read, and a line for each of these."""
    found: list[str] = []
    wrong: list[str] = []
    for name in hashes:
        with going_on(wrong):
            results.read(name)
            found.append(name)
    return found, wrong
