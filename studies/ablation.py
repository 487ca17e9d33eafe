"""`python studies/ablation.py`: the ablation of STvM, with AdaBN and an oracle beside it.

Question: Table IV: what does each part add?
Command: python studies/ablation.py
Cost: 9 trials, 4 min
Expected: docs/results.md, "Table IV on the embedded benchmark"

With `--control` the study has one more row, Control: ST_MT with the same weight for every pixel,
the mean reliability of STvM_Raw. Reliability does two things: it tells pixels apart, and it makes
all gradients smaller. The row Control does the second alone.

`--without ROW` leaves a row out: a network without batch norm, for instance, has no AdaBN.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from studies.arguments import one_of
from studies.cli import print_left_out, renaming, run_command, run_study
from studies.study_builder import TOGGLES, StudyBuilder, unique
from studies.study_options import study_parser
from stvm.errors import StvmError
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.study import Rename, Study, Trial

_ALL_OFF: dict[str, Any] = {name: False for name in TOGGLES}

BASELINES: dict[str, dict[str, Any]] = {
    "Source": _ALL_OFF,
    "AdaBN": _ALL_OFF | {"procedure": "adabn", "adabn_share": 1.0},
    "partial AdaBN": _ALL_OFF | {"procedure": "adabn", "adabn_share": 0.5},
    "Oracle": _ALL_OFF | {"procedure": "oracle"},
}
"""Rows without adaptation, which have one trial for each realisation and no seeds.

The half of partial AdaBN is a fixed choice, not tuned on labels.
The oracle trains on target labels. Without `<target_root>/train/labels` it is not listed.
"""

VARIANTS: dict[str, dict[str, Any]] = {
    "ST": _ALL_OFF | {"st": True},
    "ST_Aug": _ALL_OFF | {"st": True, "aug": True},
    "ST_MT": _ALL_OFF | {"st": True, "aug": True, "mt": True},
    "STvM_Raw": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True},
    "STvM": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True, "mocm": True},
}
"""Rows of Table IV that adapt, with one trial for each realisation and seed."""

Weight = Callable[[Settings], float | None]
"""A function from a trial of STvM_Raw to the weight of its control trial; None for no such trial.
"""


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
    control: Weight | None = None,
    without: Sequence[str] = (),
) -> Study:
    """Table IV's trials of a preset with some settings changed.

    Args:
        preset_name: name of the preset.
        changes: settings given by the user.
        seeds: seeds of the rows that adapt.
        realisations: draws of the embedded benchmark; None for the preset's own.
        control: weight of the row Control; None for no such row.
        without: rows that are left out.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(preset_name, changes, realisations, ("constant_weight", "adabn_share"))
    trials = [
        trial
        for number in builder.numbers
        for trial in _realisation(builder, number, unique(seeds), control)
        if trial.variant not in without
    ]
    return builder.study("ablation", 4, "Ablation", trials)


def _realisation(
    builder: StudyBuilder, number: int, seeds: list[int], control: Weight | None
) -> list[Trial]:
    here = builder.at(number)
    trials = [
        builder.trial(row, None, number, here.replace(**toggles))
        for row, toggles in BASELINES.items()
        if row != "Oracle" or _target_is_labelled(builder.settings)
    ]
    for seed in seeds:
        trials += [
            builder.trial(row, seed, number, here.replace(seed=seed, **toggles))
            for row, toggles in VARIANTS.items()
        ]
        raw = here.replace(seed=seed, **VARIANTS["STvM_Raw"])
        weight = control(raw) if control else None
        if weight is not None:
            settings = here.replace(seed=seed, constant_weight=weight, **VARIANTS["ST_MT"])
            trials.append(builder.trial("Control", seed, number, settings))
    return trials


def recorded_weight(results: Results, raw: Settings, passed_over: list[str]) -> float | None:
    """Mean reliability over the training of a recorded trial of STvM_Raw, to four digits.

    Args:
        results: folder with its record.
        raw: its settings; their hash is its name.
        passed_over: list for a line if its record cannot be read; there is no weight then.

    Raises:
        StvmError: it is not recorded, failed, or has no reliability.
    """
    record = None
    wrong: list[str] = []
    with going_on(wrong):
        record = results.read(raw.hash())
    if wrong:
        passed_over.append(f"{_label('Control', raw)}: the record of its STvM_Raw cannot be read")
        return None
    if record is None or not record.is_done:
        raise StvmError(
            f"--control takes its weight from {_label('STvM_Raw', raw)}, which has no result in "
            f"{results.root}: run the same command without --control first, or give a weight, as "
            "in --control 0.3"
        )
    # Records of earlier versions hold the curve alone.
    points = [point["reliability"] or 0.0 for point in record.curve]
    parts = record.result.get("parts") or {}
    mean = parts.get("reliability", sum(points) / max(len(points), 1))
    if not mean:
        raise StvmError(
            f"--control takes its weight from {_label('STvM_Raw', raw)}, whose record "
            f"{record.path} holds no reliability: give a weight, as in --control 0.3"
        )
    return float(f"{mean:.4g}")


def _label(row: str, settings: Settings) -> str:
    return Trial(row, settings.training.seed, settings.data.realisation, False, settings).label


def _target_is_labelled(settings: Settings) -> bool:
    data = settings.data
    return data.dataset == "streets" or (Path(data.target_root) / "train" / "labels").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = study_parser(__doc__ or "", (0,))
    parser.add_argument(
        "--control",
        nargs="?",
        const="recorded",
        type=_weight,
        metavar="WEIGHT",
        help="add the row Control; without WEIGHT it takes that of each recorded trial of STvM_Raw",
    )

    parser.add_argument(
        "--without",
        action="append",
        default=[],
        **one_of((*BASELINES, *VARIANTS)),
        metavar="ROW",
        help="leave a row out, as in --without AdaBN --without 'partial AdaBN'; can be repeated",
    )

    def act(options: argparse.Namespace, changes: dict[str, str]) -> int:
        control: Weight | None = None
        left_out: list[str] = []
        if options.control == "recorded":
            results = Results(options.results)
            control = partial(_weight_of, results, renaming(results, options.cache), left_out)
        elif options.control is not None:
            control = _given(options.control)
        study = build_study(
            *(options.preset, changes, options.seeds, options.realisations),
            *(control, options.without),
        )
        print_left_out(left_out)
        return max(run_study(study, options), 2 if left_out else 0)

    return run_command(parser, act, arguments)


def _weight_of(
    results: Results, rename: Rename, left_out: list[str], raw: Settings
) -> float | None:
    return recorded_weight(results, rename(raw), left_out)


def _given(weight: float) -> Weight:
    return lambda raw: weight


def _weight(text: str) -> float | str:
    """A weight of a command line, for argparse."""
    if text == "recorded":
        return text
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
