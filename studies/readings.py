"""`python studies/readings.py`: what each reading of the paper's open points costs.

For each reading in `docs/paper.md`, the row of Table IV it bears on is run with it; the row as the
preset has it is the reference. `python reports/make_readings.py` makes the table.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studies.ablation import VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder
from stvm.settings import Settings
from stvm.study import Study

READINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "ST": ({"labeller": "student"}, {"labeller_bn": "batch"}),
    "ST_Aug": ({"labeller": "student"}, {"labeller_bn": "batch"}, {"student_bn": "frozen"}),
    "ST_MT": (
        {"labeller_bn": "batch"},
        {"teacher_bn": "ema"},
        {"teacher_bn": "track"},
        {"teacher_bn": "keep"},
        {"evaluated": "student"},
        {"ema_momentum": 1e-3, "ema_period": 100},
        {"ema_momentum": 1e-3, "ema_period": 100, "evaluated": "student"},
        {"ema_momentum": 0.01},
        {"ema_momentum": 0.01, "evaluated": "student"},
    ),
    "STvM_Raw": (
        {"threshold_momentum": 0.0},
        {"metric_balance": "repeat"},
        {"loss_norm": "weights"},
    ),
    "STvM": (
        {"student_bn": "frozen"},
        {"teacher_bn": "keep"},
        {"teacher_bn": "ema"},
        {"evaluated": "student"},
        {"ema_momentum": 1e-3, "ema_period": 100},
        {"ema_momentum": 1e-3, "ema_period": 100, "evaluated": "student"},
        {"patch_unit": "component"},
        {"patch_order": "random"},
        {"patch_image": "augmented"},
        {"patch_max_cover": 0.1},
        {"n_mocm": 10, "tau_mocm": 0.8},
        {"loss_norm": "weights"},
        {"mgs": False},
    ),
}
"""Row of Table IV to the readings tried on it."""


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """The reference rows and each reading, for every seed and realisation.

    Raises:
        StvmError: unknown preset or setting, or a value out of range.
    """
    base = StudyBuilder(preset_name, changes, realisations)
    trials = [
        base.trial(name, seed, number, settings)
        for number, seed, here in base.seeded(seeds)
        for name, settings in rows_with_readings(here, READINGS)
    ]
    return base.study("readings", 0, "Readings of the paper", trials)


def rows_with_readings(
    base: Settings, tried: Mapping[str, Iterable[dict[str, Any]]]
) -> list[tuple[str, Settings]]:
    """Each row of Table IV as it is, and below it the readings tried on it."""
    rows = []
    for row, readings in tried.items():
        reference = base.replace(**VARIANTS[row])
        rows.append((row, reference))
        for reading in readings:
            words = " ".join(f"{name}={_word(value)}" for name, value in reading.items())
            rows.append((f"{row}, {words}", reference.replace(**reading)))
    return rows


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
