"""The effect of the compute settings: torch's global switches and the forward passes of networks.

`computing` surrounds everything that is computed for a trial. `ForwardMode` wraps the networks of a
training. With the default settings on the CPU neither changes anything.

TF32 rounds the factors of convolutions and matrix products to 10 bits. precision=tf32 allows it;
precision=float32 forbids it, although torch's default allows it in convolutions.
precision=bfloat16 is autocast around the forward passes: their outputs are float32, and so is all
that is computed from them. Evaluation never uses autocast, but it uses TF32 if that is allowed.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from stvm.errors import StvmError
from stvm.networks.forward_mode import ForwardMode
from stvm.settings import ComputeSettings

CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""Fixes the workspace of cuBLAS, and with it the order of sums; determinism requires it."""


@contextmanager
def computing(compute: ComputeSettings, device: torch.device) -> Iterator[None]:
    """Sets torch's global switches for the block and restores them after it.

    Processes are reused for several trials, so a trial must not leave a switch for the next one.

    Raises:
        StvmError: The GPU has no bfloat16, or its memory ran out in the block.
    """
    _check(compute, device)
    before, workspace = _switches(), os.environ.get(CUBLAS)
    if compute.deterministic:
        os.environ[CUBLAS] = workspace or ":4096:8"
    tf32 = compute.precision == "tf32"
    _switch(compute.deterministic, compute.deterministic, compute.cudnn_benchmark, tf32, tf32)
    try:
        with naming_memory():
            yield
    finally:
        _switch(*before)
        if compute.deterministic and workspace is None:
            os.environ.pop(CUBLAS, None)


@contextmanager
def naming_memory() -> Iterator[None]:
    """Turns a lack of GPU memory in the block into one line that says what to change.

    Raises:
        StvmError: The memory of the GPU ran out, in torch, cuDNN or cuBLAS.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_memory(error):
            raise
        raise StvmError(_memory_message(str(error))) from None


def _is_memory(error: RuntimeError) -> bool:
    told = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "CUDA error: out of memory" in told
        or "STATUS_ALLOC_FAILED" in told
    )


def _memory_message(told: str) -> str:
    """One line made from torch's message of several lines."""
    tried = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", told)
    whole = re.search(r"GPU (\d+) has a total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+)", told)
    facts = f", tried to allocate {tried[1]}" if tried else ""
    facts += f", {whole[3]} of the {whole[2]} of GPU {whole[1]} were free" if whole else ""
    return (
        f"memory of the GPU ran out{facts}: set precision=bfloat16, channels_last=true, "
        "patches_on=cpu, accumulate, smaller crop_height and crop_width, or give a trial a whole "
        "GPU with --gpus-per-trial 1; `python -m studies memory` estimates what a trial needs"
    )


def _check(compute: ComputeSettings, device: torch.device) -> None:
    if (
        device.type == "cuda"
        and compute.precision == "bfloat16"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise StvmError(
            f"{torch.cuda.get_device_name(device)} has no bfloat16: leave precision=float32, or "
            "use a GPU of compute capability 8.0 or above"
        )


def must_repeat(device: torch.device) -> bool:
    """True on a GPU that refuses operations which do not repeat; another form is used then."""
    return device.type == "cuda" and torch.are_deterministic_algorithms_enabled()


def _switches() -> tuple[bool, bool, bool, bool, bool]:
    backends: Any = torch.backends
    return (
        torch.are_deterministic_algorithms_enabled(),
        backends.cudnn.deterministic,
        backends.cudnn.benchmark,
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.allow_tf32,
    )


def _switch(
    deterministic: bool, cudnn_deterministic: bool, benchmark: bool, convs: bool, products: bool
) -> None:
    backends: Any = torch.backends
    torch.use_deterministic_algorithms(deterministic)
    backends.cudnn.deterministic = cudnn_deterministic
    backends.cudnn.benchmark = benchmark
    backends.cudnn.allow_tf32 = convs
    backends.cuda.matmul.allow_tf32 = products


def forward_mode_of(compute: ComputeSettings) -> ForwardMode:
    """Forward mode of networks under these settings."""
    return ForwardMode(compute.channels_last, compute.compile, compute.precision)
