"""The benchmarks run and report every part; of their figures only what must hold is asserted."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_settings import ASSIGNMENTS

ROOT = Path(__file__).resolve().parents[2]


def said(script: str, *words: str) -> str:
    command = [sys.executable, f"benchmarks/{script}", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_step_benchmark_prints_ratios_memory_and_every_part(tmp_path: Path) -> None:
    """Here on random images, as the folders are not there, and with more source classes."""
    folder = ["dataset=folder", "source_root=none", "target_root=none", "classes=a,b,c"]
    folder += ["source_classes=a,b,c,d", "class_map=a:a,b:b,c:c+d"]
    options = ["--cache", str(tmp_path), "--steps", "10"]
    shown = said("step.py", *options, *ASSIGNMENTS, *folder)
    assert "random images: " in shown and "random weights, spread over the classes" in shown
    for part in ("ratio", "label", "learn_metric", "augment", "store", "paste", "student"):
        assert part in shown
    operations = re.search(r"ratio of operations +([\d.]+) ", shown)
    assert operations and float(operations[1]) > 1
    assert re.search(r"peak memory of a step +[\d.]+ GiB", shown)
    assert re.search(r"estimated +[\d.]+ GiB", shown)


@pytest.mark.long
@pytest.mark.slow
def test_five_steps_resume_to_the_bit_and_the_table_says_so() -> None:
    small = ["crop_height=65", "crop_width=65", "height=65", "width=65", "n_f=16"]
    shown = said("full_size.py", "--networks", "deeplabv3_resnet50", "--set", *small)
    rows = [line.split() for line in shown.splitlines() if line.startswith("deeplabv3_resnet50  ")]
    assert [row[1] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row[-1] for row in rows[3:]] == ["yes", "yes"]
    banked = re.search(r"(\d+) patches banked", shown)
    assert banked and int(banked[1]) > 10
