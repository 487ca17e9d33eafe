"""The resources and permissions of a run; this module loads no Ray, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Resources of a trial, and folders.

    Attributes:
        cpus: cores a trial; None for one core, or a GPU's share of the cores.
        gpus: GPUs a trial; None for one where there are any.
        address: address of a running Ray cluster; None starts Ray on this machine.
        cache: folder of rendered data and source models.
        tensorboard: each trial also leaves event files.
        keep_every: seconds between the states from which an interrupted trial goes on.
        on_cpu: run on the CPU what takes days there.
        from_scratch: train full-size source models from random weights.
    """

    cpus: int | None
    gpus: float | None
    address: str | None
    cache: Path
    tensorboard: bool = False
    keep_every: float = 300.0
    on_cpu: bool = False
    from_scratch: bool = False
