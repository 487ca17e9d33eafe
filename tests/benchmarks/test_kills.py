"""The kill script's judgement: that it would notice a lost trial or one started twice."""

import json
import os
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from stvm.records.record import Record
from stvm.records.results import Results

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


A, B, C = ("a" * 12, "b" * 12, "c" * 12)


def results_of(folder: Path, *noted: tuple[str, str]) -> Path:
    """Results with trials a and b listed, b recorded."""
    results = Results(folder)
    (folder / "studies").mkdir(parents=True)
    entries = [{"hash": A}, {"hash": B}]
    (folder / "studies" / "s.json").write_text(json.dumps({"trials": entries}))
    results.write(Record(B, "done", result={"miou": 0.5}))
    os.utime(results.record_path(B), (later := time.time() + 60, later))
    for event, name in noted:
        results.note(event, name)
    return folder


def test_the_audit_counts_lost_trials_and_those_started_after_their_end(tmp_path: Path) -> None:
    from audits import audit

    sound = results_of(tmp_path / "1", ("start", B), ("start", B), ("done", B))
    assert audit(sound) == (1, 0)
    Results(sound).write(Record(A, "failed"))
    assert audit(sound) == (0, 0)
    Results(sound).note("start", B)
    assert audit(sound) == (0, 1)
    unrecorded = results_of(tmp_path / "2", ("start", C), ("done", C))
    assert audit(unrecorded) == (2, 0)


def test_a_start_after_the_record_was_written_counts_though_its_end_was_not_noted(
    tmp_path: Path,
) -> None:
    from audits import audit

    results = results_of(tmp_path, ("start", B))
    assert audit(results) == (1, 0)
    path = Results(results).record_path(B)
    os.utime(path, (earlier := time.time() - 60, earlier))
    assert audit(results) == (1, 1)


@pytest.mark.slow
def test_a_search_is_compared_with_its_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from audits import audit_search

    results = Results(tmp_path)
    (tmp_path / "searches").mkdir()
    storage = f"sqlite:///{tmp_path}/searches/s.db"
    study = optuna.create_study(study_name="s", storage=storage)

    def told(name: str, value: float | None) -> None:
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        trial.set_user_attr("hash", name)
        study.tell(trial, value, state=None if value is not None else TrialState.FAIL)

    results.write(Record(A, "done", result={"miou": 0.5}))
    results.write(Record(B, "failed"))
    told(A, 0.5)
    told(B, None)
    assert audit_search(tmp_path)
    told(C, 0.5)
    assert not audit_search(tmp_path) and "lost 1" in capsys.readouterr().out
    results.write(Record(C, "done", result={"miou": 0.5}))
    assert audit_search(tmp_path)
    told(A, 0.5)
    assert not audit_search(tmp_path) and "duplicate settings 1" in capsys.readouterr().out


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
    until = time.monotonic() + 10
    while any(p.alive() for p in family) and time.monotonic() < until:
        time.sleep(0.05)
    assert driver.forced >= 1 and not any(p.alive() for p in family)
    assert not [p for p in marked(mark) if p.alive()]
