"""`python studies/silhouette.py`: how well the metric features separate the classes.

Question: Table VII: do the metric features separate the classes?
Command: python studies/silhouette.py
Cost: 3 trials, 2 min
Expected: docs/results.md, "Table VII: silhouette"

ST_MT has no metric network, so one is trained beside it that nothing uses. It changes nothing in
the training (a test compares the two), so the row is the ST_MT of Table IV.
"""

import sys
from collections.abc import Sequence

from studies.ablation import VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder
from stvm.study import Study

ROWS = {
    "ST_MT": VARIANTS["ST_MT"] | {"metric_alongside": True},
    "STvM_Raw": VARIANTS["STvM_Raw"],
    "STvM": VARIANTS["STvM"],
}


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Table VII's trials of a preset with some settings changed.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(preset_name, changes, realisations, varied=["metric_alongside"])
    trials = [
        builder.trial(row, seed, number, here.replace(**toggles))
        for number, seed, here in builder.seeded(seeds)
        for row, toggles in ROWS.items()
    ]
    return builder.study("silhouette", 7, "Silhouette of the metric features", trials)


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
