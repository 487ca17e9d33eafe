"""Settings of a trial that takes a second or two."""

from typing import Any

from benchmarks.tiny_trial import TINY_TRIAL
from stvm.settings import Settings

TINY: dict[str, Any] = TINY_TRIAL | {"crop_height": 32, "crop_width": 32}

ASSIGNMENTS = [f"{name}={value}" for name, value in TINY.items()]


SMALL_SCENARIO = [
    *ASSIGNMENTS,
    *("network=small_deeplab", "height=64", "width=128", "source_height=0", "source_width=0"),
    *("source_lr=0.02", "source_head_lr_factor=1", "workers=0"),
]
"""For a preset of the paper's scenarios, on the trees of `tests/helpers/tiny_datasets.py`."""


def tiny(**changes: Any) -> Settings:
    """Tiny settings with changes."""
    return Settings().replace(**(TINY | changes))
