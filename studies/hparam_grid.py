"""`python studies/hparam_grid.py`: seven hyperparameters of STvM, changed one at a time.

Question: Table V: how much does each of seven hyperparameters matter?
Command: python studies/hparam_grid.py
Cost: 23 trials, 10 min
Expected: docs/results.md, "Table V: seven hyperparameters"

Each hyperparameter takes every value that the paper tried, and the preset's own default where the
paper did not try it. The default's trial is the same in all seven parts and runs once. It is also
a trial of `studies/ablation.py` and `studies/variance.py`.
"""

import sys
from collections.abc import Sequence
from typing import Any

from studies.ablation import VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder
from stvm.settings import field_of
from stvm.study import Study

PARAMETERS = ("tau_mocm", "n_mocm", "n_f", "temperature", "q_m", "alpha", "beta")
"""Hyperparameters in the order of Table V; their values are in `stvm/settings/`."""


def grid_of(name: str) -> list[float]:
    """Values of a setting in Table V."""
    facts: Any = field_of(name).json_schema_extra
    values: list[float] = facts["grid"]
    return values


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Table V's trials of a preset with some settings changed.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(preset_name, changes, realisations)
    flat = builder.settings.flat()
    grid = {name: sorted({*grid_of(name), flat[name]}) for name in PARAMETERS}
    trials = [
        builder.trial(
            f"{name}={value:g}", seed, number, here.replace(**(VARIANTS["STvM"] | {name: value}))
        )
        for number, seed, here in builder.seeded(seeds)
        for name, values in grid.items()
        for value in values
    ]
    defaults = {name: flat[name] for name in PARAMETERS}
    return builder.study(
        "hparam_grid", 5, "Hyperparameters one at a time", trials, defaults=defaults, grid=grid
    )


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
