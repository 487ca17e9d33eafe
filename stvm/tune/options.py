"""The resources and permissions of a run; this module loads no Ray, which takes seconds."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Resources and permissions of a run.

    Attributes:
        cpus: cores for each trial; None for one core, or a GPU's share of the cores.
        gpus: GPUs for each trial; None for one if there are any.
        address: address of a running Ray cluster; None starts Ray on this machine.
        cache: folder of rendered data and source models.
        tensorboard: whether each trial also writes event files.
        keep_every: seconds between the states from which an interrupted trial resumes.
        on_cpu: permission to run for hours or days on the CPU.
        from_scratch: permission to train full-size source models from random weights.
    """

    cpus: int | None
    gpus: float | None
    address: str | None
    cache: Path
    tensorboard: bool = False
    keep_every: float = 300.0
    on_cpu: bool = False
    from_scratch: bool = False
