"""Peak memory of a trial: it counts from its beginning on, and is absent where nobody tells it."""

import sys
from pathlib import Path

import pytest
import torch

from stvm.trial import peak_memory
from stvm.trial.peak_memory import PeakMemory

CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak")


def fill(mib: int) -> None:
    """Memory that is used and given back."""
    torch.ones(mib * 2**18).sum()


@LINUX
def test_a_peak_is_that_of_its_own_trial() -> None:
    first = PeakMemory(CPU)
    before = first.mib()
    fill(600)
    large = first.mib()
    second = PeakMemory(CPU)
    fill(200)
    small = second.mib()
    assert before is not None and large is not None and small is not None
    assert large - before == pytest.approx(600, abs=40)
    assert small == pytest.approx(large - 400, abs=60)


@pytest.mark.parametrize("missing", ["clear_refs", "status"])
def test_no_peak_where_the_system_does_not_tell_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"clear_refs", "status"} - {missing}:
        (tmp_path / name).write_text("VmPeak: 9 kB\n")
    if missing == "clear_refs":
        (tmp_path / "clear_refs").mkdir()
    monkeypatch.setattr(peak_memory, "_PROCESS", tmp_path)
    assert PeakMemory(CPU).mib() is None


def test_on_a_gpu_the_peak_is_that_of_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5 * 2**20)
    gpu = torch.device("cuda:0")
    assert PeakMemory(gpu).mib() == 5
    assert asked == [gpu]
