"""`python -m studies status` counts and names correctly, and changes nothing."""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from studies.__main__ import main
from studies.commands.status import as_text, look
from stvm.records.results import Results
from stvm.records.running import mark_stopped
from tests.helpers.command_output import NAMES, content, manifest, put, synthetic


def holder(path: Path) -> "subprocess.Popen[str]":
    """A process that holds a lock until it is killed."""
    path.parent.mkdir(exist_ok=True)
    program = (
        "import sys, time; from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1]); lock.acquire()\n"
        "print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Done, failed, damaged, collapsed, missing; two studies that share two trials."""
    done, failed, damaged, collapsed, missing, unlisted = NAMES[:6]
    for record in (
        synthetic(done),
        synthetic(failed, None),
        synthetic(collapsed, collapsed=True),
        synthetic(unlisted),
    ):
        put(tmp_path, record)
    (tmp_path / "records" / f"{damaged}.json").write_text('{"schema": 1')
    manifest(tmp_path, "one-a", {"A": done, "B": failed, "C": damaged, "C again": damaged})
    manifest(tmp_path, "two-b", {"A": done, "B": failed, "D": collapsed, "E": missing})
    return tmp_path


def status(root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["status", "--results", str(root), "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_status_counts_by_study_and_each_trial_once_in_all(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(results)
    data = status(results, capsys)
    keys = ("trials", "recorded", "failed", "running", "damaged", "missing", "collapsed")
    counts = {s["study"]: [s[key] for key in keys] for s in data["studies"]}
    assert counts == {"one-a": [3, 2, 1, 0, 1, 0, 0], "two-b": [4, 3, 1, 0, 0, 1, 1]}
    assert [data["total"][key] for key in keys] == [6, 4, 1, 0, 1, 1, 1]
    assert data["unlisted"]["trials"] == 1
    assert data["trials"][NAMES[1]]["detail"] == "loss is nan at iteration 3"
    assert f"{NAMES[2]}.json" in data["trials"][NAMES[2]]["detail"]
    assert main(["status", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    for words in (
        "title of one-a",
        "B realisation 0 seed 0  loss is nan at iteration 3",
        "cannot read",
        "collapsed",
        "in no study",
    ):
        assert words in text
    assert content(results) == before, "status changed something"


def test_running_is_what_a_living_process_holds(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, stale, done = NAMES[4], NAMES[6], NAMES[0]
    log = Results(results)
    log.note("start", missing, variant="E realisation 0 seed 0")
    log.note("start", stale, variant="killed")
    with open(results / "events.jsonl", "a") as file:
        file.write('{"time": "2026-01-01T00:00:00+00:00", "event": "start", "hash": "9')
    process = holder(results / "locks" / f"{missing}.lock")
    with FileLock(results / "locks" / f"{stale}.lock"):
        pass
    try:
        # The lock of a recorded trial is not tried: its process is about to release it.
        with FileLock(results / "locks" / f"{done}.lock"):
            before = content(results)
            data = status(results, capsys)
            assert content(results) == before
    finally:
        process.kill()
        process.wait()
    running = [name for name, trial in data["trials"].items() if trial["state"] == "running"]
    assert running == [missing] and data["total"]["running"] == 1 and not data["total"]["missing"]
    assert data["trials"][missing]["label"] == "E realisation 0 seed 0"
    assert data["trials"][missing]["detail"].startswith("20")
    after = status(results, capsys)
    assert after["trials"][missing]["state"] == "missing" and after["total"]["running"] == 0


def said(root: Path, name: str, lock: Path, iteration: int, **more: Any) -> None:
    """The line that a process wrote about a task while it ran."""
    sign = {"label": "E seed 0", "host": "node7", "pid": 4711, "lock": str(lock)}
    sign |= {"since": "2026-01-01T00:00:00+00:00", "seen": "2026-01-01T05:30:00+00:00"}
    path = root / "running" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(sign | {"iteration": iteration, "of": 80_000} | more))


def test_a_running_trial_shows_how_far_it_is_and_one_whose_process_died_is_named(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, dead, done = NAMES[4], NAMES[6], NAMES[0]
    lock = results / "locks" / f"{missing}.lock"
    for name in (missing, dead, done):
        said(results, name, results / "locks" / f"{name}.lock", 40_000)
    said(results, "source-abc", lock, 90, of=900, label="source model abc")
    said(results, "source-def", results / "gone.lock", 0, of=0, label="source model def")
    (results / "running" / f"{NAMES[7]}.json").write_text('{"host": "cut')
    process = holder(lock)
    try:
        data = status(results, capsys)
        assert main(["status", "--results", str(results)]) == 0
    finally:
        process.kill()
        process.wait()
    text = capsys.readouterr().out
    trial = data["trials"][missing]
    assert (trial["state"], trial["sign"]["iteration"], trial["sign"]["of"]) == (
        *("running", 40_000, 80_000),
    )
    assert "iteration 40000 of 80000, 50 %  on node7:4711  since 2026-01-01T00:00" in text
    assert "not heard of for" in text
    assert "source model abc" in text and "iteration 90 of 900, 10 %" in text
    assert data["sources"]["abc"]["state"] == "running"
    assert data["trials"][dead]["state"] == "missing"
    assert "interrupted (2)" in text and "last heard of 2026-01-01T05:30" in text
    assert "before its first iteration was told" in text
    assert data["trials"][done]["sign"] is None and data["total"]["running"] == 1
    after = status(results, capsys)["trials"]
    assert "process on node7:4711 died" in after[missing]["detail"]


def test_a_trial_that_its_user_stopped_is_told_so(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, killed, held = NAMES[4], NAMES[6], NAMES[7]
    here = {"host": platform.node(), "since": "2026-01-02T00:00:00+00:00"}
    for name, more in ((stopped, here), (killed, here | {"since": "2026-01-01"}), (held, here)):
        said(results, name, results / "locks" / f"{name}.lock", 40_000, **more)
    (results / "locks").mkdir(exist_ok=True)
    with FileLock(results / "locks" / f"{held}.lock"):
        mark_stopped(results / "running", "2026-01-02T00:00:00+00:00", wait_s=0)
    trials = status(results, capsys)["trials"]
    assert trials[stopped]["detail"].startswith("stopped by its user at 20")
    assert "iteration 40000 of 80000, 50 %; the study's command" in trials[stopped]["detail"]
    for name in (killed, held):
        assert "died or was killed" in trials[name]["detail"]


def test_long_titles_are_wrapped_to_the_terminal(results: Path) -> None:
    manifest(results, "long-d", {"A": NAMES[0]})
    path = results / "studies" / "long-d.json"
    path.write_text(path.read_text().replace("title of long-d", "many words " * 20))
    found = look(Results(results))
    lines = as_text(found, 110).split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 110 < max(map(len, as_text(found).splitlines()))
    assert sum(line.count("words") for line in lines) == 20


def test_trouble_is_told_while_no_record_follows(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "errors").mkdir()
    for name in (NAMES[0], NAMES[4]):
        trace = "Traceback (most recent call last):\n  File x\nMemoryError: too large\n\n"
        (results / "errors" / f"{name}.txt").write_text(trace)
    data = status(results, capsys)
    assert list(data["troubles"]) == [NAMES[4]]
    assert data["troubles"][NAMES[4]]["detail"].startswith("MemoryError: too large (")


def test_what_cannot_be_read_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "studies" / "bad-c.json").write_text('{"trials": 3}')
    (results / "locks" / f"{NAMES[4]}.lock").mkdir(parents=True)
    put(results, synthetic(NAMES[0]) | {"result": None})
    data = status(results, capsys)
    assert len(data["unreadable"]) == 2
    assert "bad-c.json" in data["unreadable"][0] and NAMES[4] in data["unreadable"][1]
    assert data["trials"][NAMES[0]]["state"] == "damaged"
    assert [study["study"] for study in data["studies"]] == ["one-a", "two-b"]


@pytest.mark.slow
@pytest.mark.long
def test_ten_thousand_records_are_counted_in_seconds(tmp_path: Path) -> None:
    curve = [dict.fromkeys(("iteration", "loss", "metric_loss"), 0.123456)] * 40
    watch = [{"iteration": 1, "shares": [0.0526315789] * 19, "entropy": 1.2}] * 41
    for number in range(10_000):
        put(tmp_path, synthetic(f"{number:012x}", curve=curve, watch=watch))
    names = [f"{number:012x}" for number in range(10_000)]
    manifest(tmp_path, "one-a", {str(number): name for number, name in enumerate(names)})
    started = time.process_time()
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert time.process_time() - started < 6
