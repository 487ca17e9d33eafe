"""`python studies/pseudo_labels.py`: self-training on the most confident predictions alone.

Question: Fig. 1: how many of the pseudo-labels should be used?
Command: python studies/pseudo_labels.py
Cost: 11 trials, 3 min
Expected: docs/results.md, "Fig. 1: share of pseudo-labels"

The trials are plain self-training (ST of Table IV) on the most confident share of the predictions
of each class. The loss is divided by the number of pixels that are used. Without that, a smaller
share would also mean a smaller learning rate.
"""

import sys
from collections.abc import Sequence

from studies.ablation import BASELINES, VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder, unique
from stvm.study import Study

SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
"""Shares in per cent; 100 is the row ST of Table IV."""


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Fig. 1's trials of a preset with some settings changed, and the source model as it is.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    builder = StudyBuilder(
        preset_name, changes, realisations, varied=["pseudo_label_share", "loss_norm"]
    )
    trials = []
    for number in builder.numbers:
        here = builder.at(number)
        trials.append(builder.trial("Source", None, number, here.replace(**BASELINES["Source"])))
        for seed in unique(seeds):
            plain = here.replace(seed=seed, **VARIANTS["ST"])
            trials += [
                builder.trial(
                    str(share),
                    seed,
                    number,
                    plain.replace(pseudo_label_share=share / 100, loss_norm="weights"),
                )
                for share in SHARES
            ]
    return builder.study(
        "pseudo_labels", 0, "Share of pseudo-labels (Fig. 1)", trials, shares=list(SHARES)
    )


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
