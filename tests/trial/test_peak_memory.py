"""Peak memory of a trial: it counts its own alone, and is absent where nobody tells it."""

import sys
from pathlib import Path

import pytest
import torch

from stvm.trial import peak_memory
from stvm.trial.freed_memory import give_memory_back
from stvm.trial.peak_memory import PeakMemory

CPU = torch.device("cpu")
GLIBC = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak")


def fill(mib: int) -> None:
    """Memory that is used and given back."""
    torch.ones(mib * 2**18).sum()


@GLIBC
def test_a_peak_is_that_of_its_own_trial_alone() -> None:
    kept = torch.ones(300 * 2**18)
    first = PeakMemory(CPU)
    fill(600)
    second = PeakMemory(CPU)
    fill(200)
    assert kept.sum() > 0
    assert first.mib() is not None
    assert second.mib() == pytest.approx(200, abs=30)


@GLIBC
def test_the_peak_stays_when_memory_is_freed() -> None:
    memory = PeakMemory(CPU)
    fill(400)
    fill(100)
    assert memory.mib() == pytest.approx(400, abs=30)


@GLIBC
def test_freed_memory_of_small_pieces_goes_back() -> None:
    pieces = [torch.ones(2**12) for _ in range(2**14)]
    full = peak_memory._process_memory("VmRSS")
    end = pieces[-1]
    del pieces
    give_memory_back()
    now = peak_memory._process_memory("VmRSS")
    assert full is not None and now is not None and end.sum() > 0
    assert full - now > 150 * 2**20


def test_a_peak_begins_where_freed_memory_was_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What trials before had freed does not hide what this one takes. 1 kB is 1024 bytes."""
    status = "Name:\tpython\nVmPeak:\t 9000000 kB\nVmHWM:\t {} kB\nVmRSS:\t {} kB\n"
    (tmp_path / "status").write_text(status.format(3 * 2**20, 2**20))
    monkeypatch.setattr(peak_memory, "_PROCESS", tmp_path)

    def give_back() -> None:
        (tmp_path / "status").write_text(status.format(3 * 2**20, 2**19))

    monkeypatch.setattr(peak_memory, "give_memory_back", give_back)
    memory = PeakMemory(CPU)
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert memory.mib() == 3 * 1024 - 512


@pytest.mark.parametrize("missing", ["clear_refs", "status"])
def test_no_peak_where_the_system_does_not_tell_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"clear_refs", "status"} - {missing}:
        (tmp_path / name).write_text("VmPeak: 9 kB\nVmRSS: 1 kB\n")
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
