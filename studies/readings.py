"""`python studies/readings.py`: the cost of each reading of the paper's open points.

Question: What does each reading of the paper's open points cost?
Command: python studies/readings.py, then python reports/make_readings.py
Cost: 35 trials, 13 min
Expected: docs/results.md, "What each reading costs"

A reading is one way to understand the paper where it leaves a point open (`docs/paper.md` lists
them). Each is tried on a row of Table IV. The row with the preset's settings is its reference.
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
"""Readings tried on each row of Table IV."""


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
    builder = StudyBuilder(preset_name, changes, realisations)
    trials = [
        builder.trial(name, seed, number, settings)
        for number, seed, here in builder.seeded(seeds)
        for name, settings in rows_with_readings(here, READINGS)
    ]
    return builder.study("readings", 0, "Readings of the paper", trials)


def rows_with_readings(
    base: Settings, tried: Mapping[str, Iterable[dict[str, Any]]]
) -> list[tuple[str, Settings]]:
    """Name and settings of each row of Table IV, and then of the readings tried on it."""
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
