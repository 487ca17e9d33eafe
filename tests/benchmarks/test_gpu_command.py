"""`make gpu`: its course at toy size on the CPU, and that nothing in it passes unseen."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

import gpu  # noqa: E402
import gpu_rows  # noqa: E402


def said(out: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit code and what the command printed."""
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(out), *words]
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_without_a_gpu_it_says_so_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    code, told = said(tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert (code, told) == (0, "no GPU that torch can use: nothing was run, nothing was written\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.slow
def test_the_whole_course_runs_at_toy_size_on_the_cpu(tmp_path: Path) -> None:
    code, told = said(tmp_path, "--device", "cpu", "--toy", "--budget", "280")
    assert code == 0, told
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: s["status"] for name, s in report["sections"].items()} == dict.fromkeys(
        gpu.SECTIONS, "passed"
    )
    rows = {name: section["rows"] for name, section in report["sections"].items()}
    # On one device there is nothing that differs.
    assert {row["difference"] for row in rows["parts"]} == {0.0} and len(rows["parts"]) > 25
    assert all(row["over the bare step"] > 0.5 for row in rows["steps"])
    assert rows["memory"][0]["estimated, MiB"] > 1
    assert [row["passed"] for row in rows["deterministic"]] == [True, True]
    assert rows["ray"][0]["device"] == "cpu"
    text = (tmp_path / "gpu.md").read_text()
    assert "toy sizes: nothing here says anything about a GPU" in text
    assert all(f"### {title}" in text for title in gpu.markdown.__globals__["TITLES"].values())


def made(**functions: Any) -> dict[str, tuple[str, str, int]]:
    """Sections of these functions."""
    module = ModuleType("made_sections")
    for name, function in functions.items():
        setattr(module, name, function)
    sys.modules["made_sections"] = module
    return {name: ("made_sections", name, 60) for name in functions}


def test_what_fails_is_written_down_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(device: torch.device, toy: bool) -> Iterator[gpu_rows.Row]:
        row: gpu_rows.Row = {"network": "large"}
        with gpu_rows.noted(row):
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        yield row
        yield {"network": "small", "passed": True}

    def memory(device: torch.device, toy: bool) -> Iterator[gpu_rows.Row]:
        yield {"network": "small"}
        raise ValueError("no such | network")

    def ray(device: torch.device, toy: bool) -> Iterator[gpu_rows.Row]:
        raise gpu_rows.Skipped("Ray is not installed")
        yield {}

    def loader(device: torch.device, toy: bool) -> Iterator[gpu_rows.Row]:
        yield {"loading processes": 2, "a batch, ms": 3.0}

    sections = made(steps=steps, memory=memory, ray=ray, loader=loader)
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    assert gpu.main(["--device", "cpu", "--toy", "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    told = {name: (s["status"], s["message"], len(s["rows"])) for name, s in found.items()}
    assert told == {
        "steps": ("failed", "1 of 2 failed", 2),
        "memory": ("failed", "ValueError: no such | network", 1),
        "ray": ("skipped", "Ray is not installed", 0),
        "loader": ("passed", "", 1),
    }
    text = (tmp_path / "gpu.md").read_text()
    assert "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB" in text
    assert "| large | **no** |" in text and "| 2 | 3.000 |" in text


def test_a_section_that_takes_too_long_or_dies_keeps_what_it_wrote(tmp_path: Path) -> None:
    options = argparse.Namespace(device="cpu", toy=False)
    found = gpu.alone("parts", options, 0.2, tmp_path / "parts.json")
    assert (found["status"], found["message"]) == ("failed", "not done after 0 s")
    kept = {"status": "running", "message": "", "rows": [{"check": "distances"}]}
    gpu.put(tmp_path / "steps.json", kept)
    died = gpu.finished(tmp_path / "steps.json", "the process ended with -11: ")
    assert died["status"] == "failed" and died["rows"] == [{"check": "distances"}]
    assert gpu.finished(tmp_path / "steps.json", "")["status"] == "failed"


def test_no_time_left_begins_no_section(tmp_path: Path) -> None:
    assert gpu.main(["--device", "cpu", "--budget", "5", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert {s["message"] for s in found.values()} == {"no time was left"}


def test_a_part_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_parts

    calls: list[int] = []

    def drifting(inputs: gpu_parts.Inputs) -> torch.Tensor:
        calls.append(1)
        return torch.tensor([4.0, 2.0 + 1e-3 * len(calls)])

    parts = {"drifting": (drifting, 1e-4), "broken": (lambda inputs: inputs.nothing, 1.0)}
    monkeypatch.setattr(gpu_parts, "PARTS", parts)
    monkeypatch.setattr("gpu_networks.GROUPS", ())
    first, second = gpu_parts.parts(torch.device("cpu"), True)
    assert first["difference"] == pytest.approx(1e-3 / 4, rel=1e-3) and not first["passed"]
    assert not second["passed"] and "AttributeError" in second["error"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("section", ["parts", "deterministic"])
def test_a_gpu_computes_as_the_cpu_and_repeats(tmp_path: Path, section: str) -> None:
    code, told = said(tmp_path, "--only", section)
    assert code == 0, told + (tmp_path / "gpu.md").read_text()
