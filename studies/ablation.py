"""`python studies/ablation.py`: Table IV, the ablation of STvM, with AdaBN and an oracle."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from studies.command import command
from stvm.errors import StvmError
from stvm.presets import Preset, find_preset
from stvm.settings import Settings, digest
from stvm.study import Study, Trial

_ALL_OFF: dict[str, Any] = {name: False for name in ("st", "aug", "mt", "mgs", "mocm")}

YARDSTICKS: dict[str, dict[str, Any]] = {
    "Source": _ALL_OFF,
    "AdaBN": _ALL_OFF | {"procedure": "adabn"},
    "Oracle": _ALL_OFF | {"procedure": "oracle"},
}
"""Rows without adaptation: one trial a realisation, whatever the seeds.

The oracle trains on target labels; without `<target_root>/train/labels` it is not listed.
"""

VARIANTS: dict[str, dict[str, Any]] = {
    "ST": _ALL_OFF | {"st": True},
    "ST_Aug": _ALL_OFF | {"st": True, "aug": True},
    "ST_MT": _ALL_OFF | {"st": True, "aug": True, "mt": True},
    "STvM_Raw": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True},
    "STvM": _ALL_OFF | {"st": True, "aug": True, "mt": True, "mgs": True, "mocm": True},
}
"""Rows of Table IV that adapt: one trial a realisation and seed."""

_VARIED = (*_ALL_OFF, "procedure", "seed", "realisation", "workers")


def build_study(
    preset_name: str,
    changes: dict[str, str],
    seeds: Sequence[int],
    realisations: Sequence[int] | None,
) -> Study:
    """Table IV's trials of a preset with some settings changed.

    Raises:
        StvmError: unknown preset or setting, a value out of range, a setting the study varies.
    """
    preset = find_preset(preset_name)
    refuse_varied(changes)
    base = preset.settings(**changes)
    if base.data.dataset != "streets" and realisations:
        raise StvmError(
            "--realisations are draws of the embedded benchmark: leave it out with dataset=folder"
        )
    numbers = list(dict.fromkeys(realisations or [preset.realisation]))
    trials = tuple(
        trial
        for number in numbers
        for trial in _realisation(base, preset, number, list(dict.fromkeys(seeds)))
    )
    shared = {name: value for name, value in base.flat().items() if name not in _VARIED}
    overrides = "".join(f" {name}={value}" for name, value in changes.items())
    return Study(
        name="ablation",
        table=4,
        preset=preset_name,
        base=digest(shared),
        title=f"Ablation, preset {preset_name}{overrides}",
        rule=evaluation_rule(base),
        dataset=base.data.dataset,
        trials=trials,
    )


def refuse_varied(changes: dict[str, str]) -> None:
    """Toggles, seeds and realisations are the study's to vary.

    Raises:
        StvmError: one of them is among the changes.
    """
    for name in changes:
        if name in _VARIED[:-1]:
            raise StvmError(
                f"'{name}' is what this study varies: leave it out, or use --seeds, --realisations"
            )


def evaluation_rule(settings: Settings) -> str:
    """What is measured, in one sentence: the same for every row."""
    network = {
        "teacher": "the teacher (without MT: the student)",
        "student": "the student",
    }[settings.training.evaluated]
    return (
        f"Every row that adapts: {network} after the last of {settings.training.iterations} "
        f"iterations. All rows: mIoU over the {settings.data.height}x{settings.data.width} images "
        f"of the target's {settings.training.eval_split} split; nothing is selected by "
        "target labels."
    )


def _realisation(base: Settings, preset: Preset, number: int, seeds: list[int]) -> list[Trial]:
    tuned = number in preset.tuned
    here = base.replace(realisation=number, source_seed=base.source.source_seed + number)
    trials = [
        Trial(row, None, number, tuned, here.replace(**toggles))
        for row, toggles in YARDSTICKS.items()
        if row != "Oracle" or _target_is_labelled(base)
    ]
    for seed in seeds:
        trials += [
            Trial(row, seed, number, tuned, here.replace(seed=seed, **toggles))
            for row, toggles in VARIANTS.items()
        ]
    return trials


def _target_is_labelled(settings: Settings) -> bool:
    data = settings.data
    return data.dataset == "streets" or (Path(data.target_root) / "train" / "labels").is_dir()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command(build_study, __doc__ or "", arguments)


if __name__ == "__main__":
    sys.exit(main())
