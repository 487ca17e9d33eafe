"""`python studies/ablation.py`: Table IV, the ablation of STvM, with AdaBN and an oracle."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.execute import Interrupted, Machine, execute
from stvm.presets import PRESETS, Preset, find_preset
from stvm.records import Results
from stvm.settings import Settings, digest, parse_assignments
from stvm.study import Study, Trial

_ALL_OFF: dict[str, Any] = {name: False for name in ("st", "aug", "mt", "mgs", "mocm")}

YARDSTICKS: dict[str, dict[str, Any]] = {
    "Source": _ALL_OFF,
    "AdaBN": _ALL_OFF | {"procedure": "adabn"},
    "Oracle": _ALL_OFF | {"procedure": "oracle"},
}
"""Rows without adaptation: one trial a realisation, whatever the seeds."""

VARIANTS: dict[str, dict[str, Any]] = {
    "ST": _ALL_OFF | {"st": True},
    "ST_Aug": _ALL_OFF | {"st": True, "aug": True},
    "ST_MT": _ALL_OFF | {"st": True, "aug": True, "mt": True},
    "STvM_Raw": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True},
    "STvM": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True, "mocm": True},
}
"""Rows of Table IV that adapt: one trial a realisation and seed."""

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

_VARIED = (*_ALL_OFF, "procedure", "seed", "realisation", "workers")


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Table IV's trials of a preset with some settings changed.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    preset = find_preset(preset_name)
    for name in changes:
        if name in _VARIED[:-1]:
            raise StvmError(
                f"'{name}' is what this study varies: leave it out, or use --seeds, --realisations"
            )
    base = preset.settings().replace(**changes)
    if base.data.dataset != "streets" and realisations:
        raise StvmError(
            "--realisations are draws of the embedded benchmark: leave it out with dataset=folder"
        )
    numbers = list(dict.fromkeys(realisations or [preset.realisation]))
    trials = tuple(
        trial
        for number in numbers
        for trial in _realisation(base, preset, number, list(dict.fromkeys(seeds)))
    )
    shared = {name: value for name, value in base.flat().items() if name not in _VARIED}
    overrides = "".join(f" {name}={value}" for name, value in changes.items())
    return Study(
        name="ablation",
        table=4,
        preset=preset_name,
        base=digest(shared),
        title=f"Ablation, preset {preset_name}{overrides}",
        rule=evaluation_rule(base),
        trials=trials,
    )


def evaluation_rule(settings: Settings) -> str:
    """What is measured, in one sentence: the same for every row."""
    network = {
        "teacher": "the teacher (without MT: the student)",
        "student": "the student",
    }[settings.training.evaluated]
    return (
        f"Every row: {network} after the last of {settings.training.iterations} iterations, "
        f"mIoU over the {settings.data.height}x{settings.data.width} images of the target's "
        f"{settings.training.eval_split} split; nothing is selected by target labels."
    )


def _realisation(base: Settings, preset: Preset, number: int, seeds: list[int]) -> list[Trial]:
    tuned = number in preset.tuned
    here = base.replace(realisation=number, source_seed=base.source.source_seed + number)
    trials = [
        Trial(row, None, number, tuned, here.replace(**toggles))
        for row, toggles in YARDSTICKS.items()
    ]
    for seed in seeds:
        trials += [
            Trial(row, seed, number, tuned, here.replace(seed=seed, **toggles))
            for row, toggles in VARIANTS.items()
        ]
    return trials


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage="%(prog)s [options] [setting=value ...]",
        epilog="any setting of stvm/settings.py can be changed, as in alpha=4 iterations=400",
    )
    parser.add_argument("--preset", default="demo", help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("--seeds", nargs="+", type=_number, default=[0], metavar="N")
    parser.add_argument(
        "--realisations",
        nargs="+",
        type=_number,
        metavar="N",
        help="of the embedded benchmark: new images and a new source model each",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR")
    parser.add_argument("--list", action="store_true", help="show the trials and run nothing")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again")
    parser.add_argument("--cpus-per-trial", type=_positive, metavar="N")
    parser.add_argument("--gpus-per-trial", type=float, metavar="X")
    parser.add_argument("--address", help="of a running Ray cluster")
    return parser


def _number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def list_trials(study: Study, results: Results) -> None:
    """Print every trial with what is recorded of it."""
    print(study.title)
    recorded = 0
    for trial in study.trials:
        record = results.read(trial.hash)
        state = "missing"
        if record and record["status"] == "failed":
            state = f"failed: {record['failure']['error']}"
        elif record:
            recorded += 1
            state = f"mIoU {100 * record['result']['miou']:.1f}"
        print(f"  {trial.hash}  {trial.label:32s}  {state}")
    print(f"{recorded} of {len(study.trials)} recorded in {results.root}")


def run(study: Study, results: Results, machine: Machine, retry_failed: bool) -> int:
    """Run what is missing and say what came of it; the exit code."""
    total = len({trial.hash for trial in study.trials})

    def recorded() -> int:
        return total - len(study.missing(results))

    before = recorded()
    print(f"{study.title}\n{before} of {total} trials recorded", flush=True)
    try:
        finished = execute(study, results, machine, retry_failed)
    except Interrupted:
        print(
            f"interrupted: {recorded()} of {total} trials recorded, {total - recorded()} left; "
            "the same command goes on",
            file=sys.stderr,
        )
        return 130
    for error in finished.errors:
        print(f"error: {error}", file=sys.stderr)
    failed = [t for t in study.trials if (r := results.read(t.hash)) and r["status"] == "failed"]
    for trial in failed:
        record = results.read(trial.hash)
        print(f"failed: {trial.label}: {record['failure']['error']}", file=sys.stderr)  # type: ignore[index]
    print(f"{recorded()} of {total} trials recorded in {results.root}", flush=True)
    return 1 if finished.errors or failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Taken out first: `--seeds 0 1 alpha=4` would else read alpha=4 as a seed.
    assignments = [item for item in given if _ASSIGNMENT.match(item)]
    options = _parser().parse_args([item for item in given if item not in assignments])
    try:
        changes = parse_assignments(assignments)
        study = build_study(options.preset, changes, options.seeds, options.realisations)
        results = Results(options.results)
        if options.list:
            list_trials(study, results)
            return 0
        machine = Machine(
            options.cpus_per_trial, options.gpus_per_trial, options.address, options.cache
        )
        return run(study, results, machine, options.retry_failed)
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
