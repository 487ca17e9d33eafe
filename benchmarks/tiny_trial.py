"""Settings of a trial of a second or two, for benchmarks and tests."""

from typing import Any

TINY_TRIAL: dict[str, Any] = {
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
}
