"""Settings of a trial that takes a second or two."""

from typing import Any

from stvm.settings import Settings

TINY: dict[str, Any] = {
    "source_images": 8,
    "target_images": 8,
    "eval_images": 4,
    "source_iterations": 4,
    "source_batch": 2,
    "channels": 16,
    "iterations": 6,
    "batch": 2,
    "n_f": 16,
    "ema_period": 1,
    "ema_momentum": 0.1,
    "tau_mocm": 4.0,
    "crop_height": 32,
    "crop_width": 32,
}

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
