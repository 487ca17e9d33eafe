"""`python studies/silhouette.py`: Table VII, how well the metric features part the classes.

ST_MT has no metric network; here one is trained alongside that nothing uses. It changes nothing in
the training (a test holds it), so that the row is ST_MT of Table IV, measured.
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
    base = StudyBuilder(preset_name, changes, realisations, varied=["metric_alongside"])
    trials = [
        base.trial(row, seed, number, here.replace(**toggles))
        for number, seed, here in base.seeded(seeds)
        for row, toggles in ROWS.items()
    ]
    return base.study("silhouette", 7, "Silhouette of the metric features", trials)


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
