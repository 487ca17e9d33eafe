"""Named settings to start from; a preset differs from another in settings only."""

import difflib
from dataclasses import dataclass
from typing import Any

from stvm.errors import StvmError
from stvm.settings import Settings


@dataclass(frozen=True)
class Preset:
    """Settings with a name.

    Attributes:
        about: one sentence.
        changes: what differs from the defaults, by setting.
        tuned: realisations whose validation labels were looked at to choose the changes.
        realisation: the one used when none is asked for.
    """

    about: str
    changes: dict[str, Any]
    tuned: tuple[int, ...] = ()
    realisation: int = 0

    def settings(self) -> Settings:
        """The settings, checked."""
        return Settings().replace(**self.changes)


_PAPER: dict[str, Any] = {
    "network": "deeplabv3_resnet50",
    "height": 512,
    "width": 1024,
    "crop_height": 512,
    "crop_width": 512,
}

_DEMO: dict[str, Any] = {
    "iterations": 800,
    "batch": 4,
    "gap": 0.85,
    "lr": 1.5e-3,
    "metric_lr": 1e-3,
    "n_f": 64,
    "ema_momentum": 0.003,
    "ema_period": 1,
    "n_mocm": 3,
    "tau_mocm": 0.6,
    "evaluated": "teacher",
}

PRESETS = {
    "demo": Preset("Embedded benchmark on two cores in a quarter of an hour.", _DEMO, (100,)),
    "paper": Preset("All values of section IV-B; give your folders as settings.", _PAPER),
}


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        StvmError: there is none; the message proposes the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
    raise StvmError(
        f"unknown preset '{name}': did you mean '{near}'? there are {', '.join(PRESETS)}"
    )
