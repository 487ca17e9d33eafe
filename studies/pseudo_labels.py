"""`python studies/pseudo_labels.py`: Fig. 1, self-training on the most confident predictions only.

Plain self-training (ST of Table IV) on the most confident share of the predictions of each class.
The loss is divided by the pixels trained on, as a loss that ignores the others divides, so that a
smaller share is no smaller learning rate.
"""

import sys
from collections.abc import Sequence

from studies.ablation import BASELINES, VARIANTS
from studies.cli import study_main
from studies.study_builder import StudyBuilder, unique
from stvm.study import Study

SHARES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
"""In per cent; 100 is the row ST of Table IV."""


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
    base = StudyBuilder(
        preset_name, changes, realisations, varied=["pseudo_label_share", "loss_norm"]
    )
    trials = []
    for number in base.numbers:
        here = base.at(number)
        trials.append(base.trial("Source", None, number, here.replace(**BASELINES["Source"])))
        for seed in unique(seeds):
            plain = here.replace(seed=seed, **VARIANTS["ST"])
            trials += [
                base.trial(
                    str(share),
                    seed,
                    number,
                    plain.replace(pseudo_label_share=share / 100, loss_norm="weights"),
                )
                for share in SHARES
            ]
    return base.study(
        "pseudo_labels", 0, "Share of pseudo-labels (Fig. 1)", trials, shares=list(SHARES)
    )


if __name__ == "__main__":
    sys.exit(study_main(build_study, __doc__ or ""))
