"""Peak memory of a trial as it was measured: of tensors on a GPU, of the process on the CPU."""

from pathlib import Path

import torch

from stvm.trial.freed_memory import give_memory_back

MIB = 2**20
_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"
"""Linux: written to clear_refs, it sets the peak of the resident memory to what is resident now."""


class PeakMemory:
    """Measures from its creation on.

    On a GPU: memory of torch's tensors there. On the CPU: resident memory of the process beyond
    that at the creation, so that libraries and trials before do not count; only Linux tells it.

    Args:
        device: Device of the trial.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        give_memory_back()
        if _reset_process_peak():
            self._before = _process_memory("VmRSS")

    def mib(self) -> int | None:
        """The peak since the creation in MiB; None where the system does not tell it."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self.device) / MIB)
        peak = _process_memory("VmHWM")
        if peak is None or self._before is None:
            return None
        return round((peak - self._before) / MIB)


def _reset_process_peak() -> bool:
    """Whether the peak of the process counts from now on."""
    try:
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _process_memory(name: str) -> int | None:
    """A figure of the process in bytes: VmRSS is what is resident now, VmHWM its peak."""
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith(f"{name}:")), None)
    return int(kib) * 1024 if kib else None
