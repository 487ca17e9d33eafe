"""The benchmark runs and reports every part; its figures are not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import ASSIGNMENTS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_step_benchmark_prints_a_ratio_and_every_part(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/step.py", "--cache", str(tmp_path), "--steps", "10"]
    done = subprocess.run([*command, *ASSIGNMENTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("ratio", "label", "learn_metric", "augment", "store", "paste", "student"):
        assert part in done.stdout
