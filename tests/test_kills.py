"""The kill script's judgement: that it would notice a lost trial or one started twice."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stvm.records import Results

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def results_of(folder: Path, *noted: tuple[str, str]) -> Path:
    """Results with trials a and b listed, b recorded."""
    results = Results(folder)
    (folder / "studies").mkdir(parents=True)
    entries = [{"hash": "a"}, {"hash": "b"}]
    (folder / "studies" / "s.json").write_text(json.dumps({"trials": entries}))
    results.write({"hash": "b", "status": "done"})
    for event, name in noted:
        results.note(event, name)
    return folder


def test_the_audit_counts_lost_trials_and_those_started_after_their_end(tmp_path: Path) -> None:
    from kills import audit

    sound = results_of(tmp_path / "1", ("start", "b"), ("start", "b"), ("done", "b"))
    assert audit(sound) == (1, 0)
    Results(sound).write({"hash": "a", "status": "failed"})
    assert audit(sound) == (0, 0)
    Results(sound).note("start", "b")
    assert audit(sound) == (0, 1)
    unrecorded = results_of(tmp_path / "2", ("start", "c"), ("done", "c"))
    assert audit(unrecorded) == (2, 0)


def test_what_a_killed_driver_had_started_is_waited_for_and_ended(tmp_path: Path) -> None:
    from processes import Driver, descendants, marked

    grandchild = "import time; time.sleep(60)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    mark = f"test-{os.getpid()}"
    driver = Driver([sys.executable, "-c", child], tmp_path / "log", mark)
    driver.start()
    assert driver.process
    while not (family := descendants(driver.process.pid)):
        time.sleep(0.02)
    driver.kill(group=False, patience=0.2)
    assert driver.forced >= 1 and not any(p.alive() for p in family)
    assert not [p for p in marked(mark) if p.alive()]


@pytest.mark.slow
def test_the_efficiency_benchmark_measures_both_executors() -> None:
    script = [sys.executable, str(BENCHMARKS / "study.py"), "--batches", "2x1", "--slots", "2"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "study" in done.stdout and "pool" in done.stdout
