"""What `settings.compute` means: torch's switches during a trial, and how networks pass images.

`computing` surrounds everything that computes for a trial; `ForwardMode` wraps the networks of a
training. Both are the identity for the default settings on the CPU.

TF32 rounds the factors of convolutions and matrix products to 10 bits: precision=tf32 allows it,
float32 means float32 (torch alone would allow it in convolutions). bfloat16 is autocast around
the passes; what leaves them is float32, and so is all that is computed from it. Evaluation
passes images without autocast, whatever the training did; TF32 holds there too.
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
"""Without a fixed workspace cuBLAS may sum in another order; torch then refuses to multiply."""


@contextmanager
def computing(compute: ComputeSettings, device: torch.device) -> Iterator[None]:
    """torch's global switches as the settings say, and as they were after the block.

    Processes are reused between trials: no trial may leave a switch for the next.

    Raises:
        StvmError: the GPU has no bfloat16, or its memory ran out in the block.
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
    """Memory of a GPU that runs out becomes one line with what to change.

    Raises:
        StvmError: in place of `torch.OutOfMemoryError` and of what cuDNN and cuBLAS say.
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
    """One line of what torch says on several."""
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
    """Operations of the device that may not repeat are refused: sums are taken in another form."""
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
    """How networks pass images under these settings."""
    return ForwardMode(compute.channels_last, compute.compile, compute.precision)
