"""Runs tests in forked processes, for `mutants.py`: what takes seconds to import is there already.

Reads lines of JSON, [most seconds, test file, ...], and answers "passed", "failed" or "timeout".
"""

import importlib
import json
import os
import signal
import sys
import time

SLOW_TO_IMPORT = (
    *("numpy", "torch", "torch.nn.functional", "torchvision.transforms.v2", "scipy.stats"),
    *("cv2", "PIL.Image", "pydantic", "pandas", "optuna", "safetensors.torch", "pytest"),
    *("sklearn.metrics", "pytorch_metric_learning.losses", "hypothesis"),
)
QUIET = ["-x", "-q", "-m", "not slow and not long", "-p", "no:cacheprovider", "-p", "no:xdist"]


def child(tests: list[str]) -> None:
    """Run the tests and end this process with pytest's exit code."""
    import pytest

    os.setsid()
    nowhere = os.open(os.environ.get("STVM_MUTANTS_LOG", os.devnull), os.O_RDWR | os.O_CREAT)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    # All other endings are failures: an error while the tests are collected is one too.
    os._exit(int(pytest.main([*QUIET, *tests])))


def run(limit: float, tests: list[str]) -> str:
    """How the tests end in a process of their own."""
    process = os.fork()
    if not process:
        child(tests)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return "failed" if os.waitstatus_to_exitcode(status) else "passed"
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "timeout"


def main() -> None:
    """Answer until there are no more lines."""
    for name in SLOW_TO_IMPORT:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        limit, *tests = json.loads(line)
        print(run(limit, tests), flush=True)


if __name__ == "__main__":
    main()
