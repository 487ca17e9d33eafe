"""`python studies/variance.py`: STvM with five seeds.

Question: Table VI: how much do five seeds differ?
Command: python studies/variance.py
Cost: 5 trials, 3 min
Expected: docs/results.md, "Table VI: five seeds"
"""

import sys
from collections.abc import Sequence

from studies.ablation import VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder
from stvm.study import Study

SEEDS = (0, 1, 2, 3, 4)


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Table VI's trials of a preset with some settings changed.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(preset_name, changes, realisations)
    trials = [
        builder.trial("STvM", seed, number, here.replace(**VARIANTS["STvM"]))
        for number, seed, here in builder.seeded(seeds)
    ]
    return builder.study("variance", 6, "Variance over seeds", trials)


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or "", seeds=SEEDS))
