"""`python studies/hparam_grid.py`: Table V, seven hyperparameters varied one at a time.

Every value the paper tried of every parameter, and the preset's own default where the paper did
not try it. The default's trial is the same in all seven rows and runs once, and it is the trial
that `studies/ablation.py` and `studies/variance.py` list too.
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
"""In the order of Table V; the values stand beside the defaults in `stvm/groups/`."""


def grid_of(name: str) -> list[float]:
    """The paper's values of a setting."""
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
    base = StudyBuilder(preset_name, changes, realisations)
    flat = base.settings.flat()
    grid = {name: sorted({*grid_of(name), flat[name]}) for name in PARAMETERS}
    trials = [
        base.trial(
            f"{name}={value:g}", seed, number, here.replace(**(VARIANTS["STvM"] | {name: value}))
        )
        for number, seed, here in base.seeded(seeds)
        for name, values in grid.items()
        for value in values
    ]
    defaults = {name: flat[name] for name in PARAMETERS}
    return base.study(
        "hparam_grid", 5, "Hyperparameters one at a time", trials, defaults=defaults, grid=grid
    )


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
