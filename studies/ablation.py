"""`python studies/ablation.py`: Table IV, the ablation of STvM, with AdaBN and an oracle."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from studies.command import command
from studies.listing import TOGGLES, Base, unique
from stvm.settings import Settings
from stvm.study import Study, Trial

_ALL_OFF: dict[str, Any] = {name: False for name in TOGGLES}

YARDSTICKS: dict[str, dict[str, Any]] = {
    "Source": _ALL_OFF,
    "AdaBN": _ALL_OFF | {"procedure": "adabn"},
    "Oracle": _ALL_OFF | {"procedure": "oracle"},
}
"""Rows without adaptation: one trial a realisation, whatever the seeds.

The oracle trains on target labels; without `<target_root>/train/labels` it is not listed.
"""

VARIANTS: dict[str, dict[str, Any]] = {
    "ST": _ALL_OFF | {"st": True},
    "ST_Aug": _ALL_OFF | {"st": True, "aug": True},
    "ST_MT": _ALL_OFF | {"st": True, "aug": True, "mt": True},
    "STvM_Raw": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True},
    "STvM": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True, "mocm": True},
}
"""Rows of Table IV that adapt: one trial a realisation and seed."""


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
    base = Base(preset_name, changes, realisations)
    trials = [
        trial for number in base.numbers for trial in _realisation(base, number, unique(seeds))
    ]
    return base.study("ablation", 4, "Ablation", trials)


def _realisation(base: Base, number: int, seeds: list[int]) -> list[Trial]:
    here = base.at(number)
    trials = [
        base.trial(row, None, number, here.replace(**toggles))
        for row, toggles in YARDSTICKS.items()
        if row != "Oracle" or _target_is_labelled(base.settings)
    ]
    for seed in seeds:
        trials += [
            base.trial(row, seed, number, here.replace(seed=seed, **toggles))
            for row, toggles in VARIANTS.items()
        ]
    return trials


def _target_is_labelled(settings: Settings) -> bool:
    data = settings.data
    return data.dataset == "streets" or (Path(data.target_root) / "train" / "labels").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command(build_study, __doc__ or "", arguments)


if __name__ == "__main__":
    sys.exit(main())
