"""Text of the memory estimate: the phases, the memory of the GPU, and settings to change."""

import shutil
import subprocess
from collections.abc import Iterable

from stvm.errors import StvmError
from stvm.memory.estimate import (
    ALLOWANCES,
    FRAGMENTS,
    MIB,
    OFFLINE,
    STATISTICS,
    Phase,
    phases,
)
from stvm.settings import PEERS, Settings, most_parts, needs_two_images

MOST_ESTIMATED = 3
"""Largest number of objectives beside STvM whose memory is estimated to find the largest."""
_ORACLE = "oracle"
REFERENCE = 11 * 1024 * MIB
"""Memory of the paper's GPU, an RTX 2080 Ti with 11 GB."""


def gpu_memory() -> int | None:
    """Memory of the smallest GPU of this machine in bytes, by nvidia-smi; None without a GPU.

    torch knows it too, but would keep a context on the GPU as long as the study runs.
    """
    command = shutil.which("nvidia-smi")
    if not command:
        return None
    asked = [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
        return min(int(line) for line in told.split()) * MIB
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def largest(trials: Iterable[Settings]) -> Settings:
    """The trial that is expected to need most memory.

    Of the trials of one procedure, the settings tell which one that is; STvM, AdaBN and the source
    model count as one. Between procedures the estimates decide; of the objectives beside STvM and
    the oracle only those with most networks are estimated.

    Raises:
        StvmError: There is no trial.
    """
    heaviest: dict[str, Settings] = {}
    for settings in trials:
        name = settings.method.procedure
        name = name if name in (_ORACLE, *PEERS) else ""
        heaviest[name] = max(heaviest.get(name, settings), settings, key=_weight)
    if not heaviest:
        raise StvmError("no trial: nothing to estimate")
    found = [heaviest.pop(name) for name in ("", _ORACLE) if name in heaviest]
    found += sorted(heaviest.values(), key=_weight_beside, reverse=True)[:MOST_ESTIMATED]
    return found[0] if len(found) == 1 else max(found, key=_peak)


def _weight(settings: Settings) -> tuple[float, ...]:
    method = settings.method
    metric = method.mgs or method.mocm or method.metric_alongside
    parts = (metric, method.mocm, method.buffer_size, method.n_f)
    # AdaBN changes a copy of the source model.
    copies = (method.mt, method.start_bn > 0 or method.procedure == "adabn")
    return (method.adapts, _pixels(settings), *parts, *copies)


def _weight_beside(settings: Settings) -> tuple[int, int]:
    return _pixels(settings), PEERS[settings.method.procedure].networks


def _pixels(settings: Settings) -> int:
    """Pixels of a pass with gradients; the oracle's is that of a training with labels."""
    training, source = settings.training, settings.source
    batch = training.batch // training.accumulate
    if settings.method.procedure == _ORACLE:
        batch = source.source_batch // source.source_accumulate
    return batch * training.crop_height * training.crop_width


def _peak(settings: Settings) -> int:
    return max(phase.peak for phase in phases(settings))


def lines(settings: Settings, memory: int | None = None, share: float = 1.0) -> list[str]:
    """Lines about the memory of a GPU that a trial is estimated to need.

    Args:
        settings: Settings of the trial.
        memory: Bytes of the GPU; None to compare with the paper's GPU only.
        share: Share of the GPU that the trial may use.
    """
    found = phases(settings)
    most = max(found, key=lambda phase: phase.peak)
    training, procedure = settings.training, settings.method.procedure
    text = [
        f"estimated GPU memory of a trial: {f'{procedure}, ' if procedure in PEERS else ''}"
        f"{settings.network.network}, batch {training.batch}"
        f"{f' in {training.accumulate} parts' if training.accumulate > 1 else ''} of "
        f"{training.crop_height}x{training.crop_width}, {settings.compute.precision}"
    ]
    text += [f"  {_gib(phase.peak)}  {phase.name}" for phase in found]
    text += [f"of which in {most.name}"]
    text += [f"  {_gib(size)}  {name}" for name, size in most.parts.items()]
    text += [f"  {_gib(most.lost)}  allowance: {100 * FRAGMENTS:g} % lost between blocks"]
    text += [f"  {_gib(size)}  allowance: {name}" for name, size in ALLOWANCES.items()]
    text += [f"the paper's RTX 2080 Ti has {_gib(REFERENCE).strip()}: {_fits(most, REFERENCE)}"]
    if memory is not None:
        whose = "the GPU has" if share >= 1 else f"a {share:g} share of the GPU is"
        room = round(memory * min(share, 1.0))
        text += [f"{whose} {_gib(room).strip()}: {_fits(most, room)}"]
        if most.peak > room:
            text += [f"warning: {advice(settings, most)}"]
    return text


def advice(settings: Settings, most: Phase) -> str:
    """Settings that lower the peak; those that change the trial least come first."""
    changes = []
    if any(name.startswith("patch bank") for name in most.parts):
        changes.append("patches_on=cpu")
    if settings.compute.precision != "bfloat16":
        changes.append("precision=bfloat16")
    source, training = settings.source, settings.training
    if most.name in ("source training", "oracle training"):
        changes += _parted(
            "source_accumulate", source.source_accumulate, source.source_batch, settings
        )
        whose = "source_crop" if most.name == "source training" else "crop"
        changes += [f"smaller {whose}_height and {whose}_width"]
        changes += _smaller("source_batch", source.source_batch, settings)
    elif most.name == "adaptation":
        changes += _parted("accumulate", training.accumulate, training.batch, settings)
        changes += ["smaller crop_height and crop_width"]
        changes += _smaller("batch", training.batch, settings)
    elif most.name in (OFFLINE, STATISTICS):
        changes += ["a smaller height and width"]
    else:
        changes += ["another protocol", "a smaller height and width"]
    return f"memory may run out in {most.name}; set {', or '.join(changes)}"


def _parted(name: str, now: int, batch: int, settings: Settings) -> list[str]:
    """The largest number of parts of a batch, if it is larger than now."""
    most = most_parts(settings.network, batch)
    return [f"{name}={most}"] if most > now else []


def _smaller(name: str, now: int, settings: Settings) -> list[str]:
    """A smaller batch, if the network allows one."""
    least = 2 if needs_two_images(settings.network) else 1
    return [f"a smaller {name}" + f" of {least} or more" * (least > 1)] if now > least else []


def _fits(phase: Phase, room: int) -> str:
    share = 100 * phase.peak / room
    return f"{share:.0f} % of it" + (", too little" if phase.peak > room else "")


def _gib(size: int) -> str:
    return f"{size / 2**30:6.2f} GiB"
