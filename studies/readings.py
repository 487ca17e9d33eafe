"""`python studies/readings.py`: what each reading of the paper's open points costs.

For each reading in `docs/paper.md`, the row of Table IV it bears on is run with it; the row as the
preset has it is the reference. `python reports/make_readings.py` makes the table.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from studies.ablation import VARIANTS, evaluation_rule, refuse_varied
from studies.command import command
from stvm.errors import StvmError
from stvm.presets import find_preset
from stvm.settings import Settings, digest
from stvm.study import Study, Trial

READINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "ST": ({"labeller": "student"}, {"labeller_bn": "batch"}),
    "ST_Aug": ({"labeller": "student"}, {"labeller_bn": "batch"}, {"student_bn": "frozen"}),
    "ST_MT": (
        {"labeller_bn": "batch"},
        {"teacher_bn": "ema"},
        {"teacher_bn": "track"},
        {"teacher_bn": "keep"},
        {"ema_momentum": 1e-3, "ema_period": 100},
        {"ema_momentum": 0.01},
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
        {"ema_momentum": 1e-3, "ema_period": 100},
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
    preset = find_preset(preset_name)
    refuse_varied(changes)
    base = preset.settings(**changes)
    if base.data.dataset != "streets" and realisations:
        raise StvmError("--realisations are draws of the embedded benchmark: leave it out")
    trials = []
    for number in realisations or [preset.realisation]:
        here = base.replace(realisation=number, source_seed=base.source.source_seed + number)
        for seed in seeds:
            for name, settings in _rows(here.replace(seed=seed)):
                trials.append(Trial(name, seed, number, number in preset.tuned, settings))
    overrides = "".join(f" {name}={value}" for name, value in changes.items())
    return Study(
        name="readings",
        table=0,
        preset=preset_name,
        base=digest(base.flat()),
        title=f"Readings of the paper, preset {preset_name}{overrides}",
        rule=evaluation_rule(base),
        dataset=base.data.dataset,
        trials=tuple(trials),
    )


def _rows(base: Settings) -> list[tuple[str, Settings]]:
    rows = []
    for row, readings in READINGS.items():
        reference = base.replace(**VARIANTS[row])
        rows.append((row, reference))
        for reading in readings:
            words = " ".join(f"{name}={_word(value)}" for name, value in reading.items())
            rows.append((f"{row}, {words}", reference.replace(**reading)))
    return rows


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(command(build_study, __doc__ or ""))
