"""`python studies/teacher.py`: the mean teacher's average and batch norm, and the network reported.

Question: How should the mean teacher be averaged, and which network reported?
Command: python studies/teacher.py, then python reports/make_readings.py --of teacher
Cost: 28 trials, 12 min
Expected: docs/results.md, "The mean teacher's schedule"

The paper moves the teacher by 1e-3 once in 100 iterations. In 80,000 iterations that is
1 - 0.999^800 = 0.55 of the way to the student. A trial of 800 iterations moves as far with 1e-3
in every iteration. The figures of `docs/results.md` were measured with
`--seeds 0 1 2 --realisations 100 eval_split=val`: 84 trials.
"""

import sys
from collections.abc import Sequence
from typing import Any

from studies.cli import study_main
from studies.readings import rows_with_readings
from studies.study_builder import StudyBuilder
from stvm.study import Study

ROWS = ("ST_MT", "STvM")
POLICIES = ("copy", "ema", "track", "keep")
NETWORKS = ("student", "teacher")
SAME_DRIFT: dict[str, Any] = {"ema_momentum": 1e-3, "ema_period": 1}
AS_PRINTED: dict[str, Any] = {"ema_momentum": 1e-3, "ema_period": 100}

READINGS: tuple[dict[str, Any], ...] = (
    *(
        SAME_DRIFT | {"teacher_bn": policy, "evaluated": network}
        for policy in POLICIES
        for network in NETWORKS
    ),
    *({"teacher_bn": "copy", "evaluated": network} for network in NETWORKS),
    *({"teacher_bn": "track", "evaluated": network} for network in NETWORKS),
    *(AS_PRINTED | {"teacher_bn": "copy", "evaluated": network} for network in NETWORKS),
)
"""Readings tried on each row; the row itself has the preset's settings."""
VARIED = ("teacher_bn", "evaluated", "ema_momentum", "ema_period")


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Both rows and each reading, for every seed and realisation.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(preset_name, changes, realisations, varied=VARIED)
    trials = [
        builder.trial(name, seed, number, settings)
        for number, seed, here in builder.seeded(seeds)
        for name, settings in rows_with_readings(here, dict.fromkeys(ROWS, READINGS))
    ]
    return builder.study("teacher", 0, "Mean teacher", trials)


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
