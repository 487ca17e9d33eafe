"""Several drivers on one folder of results: nothing runs twice, a dead one frees what it held."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest
import torch
from ray.tune.search import Searcher

from stvm.data.published import cache_writer
from stvm.data.streets.street_images import open_streets
from stvm.errors import StvmError
from stvm.files.locks import Held, is_held, locked
from stvm.records import results as results_module
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.trial.run_and_record import _NewTrial, run_and_record
from stvm.tune import sharing
from stvm.tune.progress import LineProgress
from stvm.tune.sharing import FREE, HELD, Shared, Standing, standing, sweep
from tests.helpers.tiny_settings import tiny
from tests.studies.test_ablation import command, events
from tests.tune.test_cluster import start

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork")
NUMBER = 18


def stub(seconds: float, error: str = "") -> Callable[..., Record]:
    """In place of a trial's work."""

    def run(trial: _NewTrial, *rest: Any) -> Record:
        time.sleep(seconds)
        name, flat = trial.settings.hash(), trial.settings.flat()
        if error:
            return Record(name, "failed", flat, failure={"error": error})
        return Record(name, "done", flat, {"miou": 0.5})

    return run


def driver(root: Path, together: Any, seconds: float, killed_at: int = -1) -> None:
    """Runs what no other runs until all is recorded, as a driver's one worker does."""
    results, made = Results(root), 0

    def run(trial: _NewTrial, *rest: Any) -> Record:
        nonlocal made
        made += 1
        if made == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return stub(seconds)(trial)

    _NewTrial._run = run  # type: ignore[method-assign]
    left = [tiny(seed=seed) for seed in range(NUMBER)]
    together.wait(60)
    while left:
        settings = left.pop(0)
        try:
            run_and_record(settings, results, root / "cache", CPU, wait=False)
        except Held:
            left.append(settings)
            time.sleep(0.01)


def drivers(root: Path, *kwargs: dict[str, Any]) -> list[int | None]:
    """Exit codes of drivers that run at the same time."""
    given = (root, FORK.Barrier(len(kwargs)), 0.1)
    processes = [FORK.Process(target=driver, args=given, kwargs=more) for more in kwargs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def starts(root: Path) -> Counter[str]:
    return Counter(event["hash"] for event in events(root) if event["event"] == "start")


@pytest.mark.slow
def test_four_drivers_start_each_trial_once(tmp_path: Path) -> None:
    assert drivers(tmp_path, {}, {}, {}, {}) == [0, 0, 0, 0]
    names = {tiny(seed=seed).hash() for seed in range(NUMBER)}
    assert set(Results(tmp_path).names()) == names
    assert starts(tmp_path) == dict.fromkeys(names, 1)
    by = Counter((event["host"], event["pid"]) for event in events(tmp_path))
    assert len(by) > 1, "one of them did it all"
    assert not list((tmp_path / "running").iterdir())


@pytest.mark.slow
def test_a_driver_that_is_killed_frees_what_it_held_and_nothing_finished_starts_again(
    tmp_path: Path,
) -> None:
    assert drivers(tmp_path, {"killed_at": 3}, {}) == [-signal.SIGKILL, 0]
    assert len(Results(tmp_path).names()) == NUMBER
    again = {name: number for name, number in starts(tmp_path).items() if number > 1}
    assert list(again.values()) == [2], "the trial that it was killed in"
    ended: set[str] = set()
    for event in events(tmp_path):
        assert event["event"] != "start" or event["hash"] not in ended
        ended |= {event["hash"]} - ({event["hash"]} if event["event"] == "start" else set())


def test_a_failed_trial_is_run_again_by_one_of_those_that_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(tmp_path)
    monkeypatch.setattr(_NewTrial, "_run", stub(0, "loss is nan"))
    run_and_record(tiny(), results, tmp_path, CPU)
    stamp = results.stamp(tiny().hash())
    task = {"kind": "trial", "name": tiny().hash(), "results": str(tmp_path), "failed": stamp}
    assert standing(task | {"retry_failed": True}).state == "free"
    assert standing(task | {"retry_failed": False}).outcome["reason"] == "loss is nan"
    for _ in range(2):
        run_and_record(tiny(), results, tmp_path, CPU, retry_failed=True, failed=stamp)
    # The second driver finds a failure that it was not asked to run again.
    assert starts(tmp_path) == {tiny().hash(): 2}
    assert standing(task | {"retry_failed": True}).state == "ended"
    assert len(list((tmp_path / "retried").iterdir())) == 1


def test_where_a_task_stands(tmp_path: Path) -> None:
    results, name = Results(tmp_path), "0" * 12
    trial = {"kind": "trial", "name": name, "results": str(tmp_path), "retry_failed": False}
    source = {"kind": "source", "source": str(tmp_path / "s.safetensors")}
    assert standing(trial) == standing(source) == FREE
    with results.lock(name), locked(tmp_path / "s.lock"):
        assert standing(trial) == standing(source) == HELD
    results.write(Record(name, "done", result={"miou": 0.25}))
    (tmp_path / "s.safetensors").touch()
    assert standing(trial) == Standing("ended", {"status": "done", "miou": 0.25})
    assert standing(source).state == "ended"
    results.record_path(name).write_text("{")
    with pytest.raises(StvmError, match="move it away"):
        standing(trial)


class Others:
    """What other drivers do, as a test says; a clock that it moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: dict[str, Standing] = {}
        self.now = 0.0
        monkeypatch.setattr(sharing, "time", SimpleNamespace(monotonic=lambda: self.now))

    def __call__(self, task: dict[str, Any]) -> Standing:
        return self.states.get(task["name"], FREE)


def asked(shared: Shared, others: Others, key: str) -> str | None:
    """Name of the next task; `end` for none ever."""
    others.now += 1
    found = shared.suggest(key)
    if isinstance(found, str):
        assert found == Searcher.FINISHED
        return "end"
    return found["task"]["name"] if found else None


@pytest.mark.parametrize("seed", range(8))
def test_a_driver_leaves_what_others_run_and_comes_back_to_it(
    seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    others = Others(monkeypatch)
    tasks = [{"name": n, "label": f"label {n}", "sign": str(tmp_path / n)} for n in "abcd"]
    shared = Shared(tasks, 1, LineProgress(4, 1, "trials", tasks), others)
    # Drivers differ in the order in which they look; `c` may be seen first or last.
    shared.order = random.Random(seed)
    others.states = {"a": HELD, "c": Standing("ended", {"status": "done", "miou": 0.5})}
    taken = [asked(shared, others, "1"), asked(shared, others, "2")]
    assert sorted(map(str, taken)) == ["b", "d"], "the one that is held and the recorded one"
    assert asked(shared, others, "3") is None, "one more than it runs is enough"
    shared.on_trial_complete("1", {"status": "done"})
    # Another driver was faster; its record is there before this one asks again.
    shared.on_trial_complete("2", {"status": "held"})
    others.states[str(taken[1])] = Standing("ended", {"status": "failed", "reason": "nan"})
    assert asked(shared, others, "4") is None
    others.states["a"] = FREE
    assert asked(shared, others, "5") == "a", "its driver has died"
    assert asked(shared, others, "6") is None
    shared.on_trial_complete("5", {"status": "done"})
    assert asked(shared, others, "7") == "end"
    said = capsys.readouterr().out
    assert said.count("label c  by another driver  mIoU 50.0") == 1
    assert f"label {taken[1]}  by another driver  failed: nan" in said
    assert said.count("waiting for other drivers, which run label a\n") == 1


def test_alone_a_driver_keeps_the_order_and_a_damaged_record_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = Others(monkeypatch)
    tasks = [{"name": n, "label": n, "sign": "/nowhere"} for n in "abcde"]

    def stands(task: dict[str, Any]) -> Standing:
        if task["name"] == "c":
            raise StvmError("c.json: damaged")
        return others(task)

    shown = LineProgress(5, 2, "trials", tasks)
    shared, order = Shared(tasks, 4, shown, stands), []
    while (name := asked(shared, others, str(len(order)))) != "end":
        if name is None:
            shared.on_trial_complete(next(iter(shared.taken)), {"status": "done"})
        else:
            order.append(name)
    assert order == ["a", "b", "d", "e"] and shown.errors == ["c.json: damaged"]
    capsys.readouterr()


def test_a_lock_is_held_once_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    assert not is_held(path) and not path.exists()
    with locked(path):
        assert is_held(path)
        with pytest.raises(Held), locked(path, wait=False):
            pass
    assert not is_held(path)
    with locked(path, wait=False):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_a_file_system_has_no_locks_a_file_that_names_its_holder_is_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock._unix.fcntl, "flock", none)
    path = tmp_path / "a.lock"
    with locked(path):
        assert any(f"{os.getpid()}\n" in p.read_text() for p in tmp_path.iterdir())
        with pytest.raises(Held), locked(path, wait=False):
            pass
        path.touch()
        assert is_held(path)
    with locked(path, wait=False):
        pass


def test_what_killed_processes_said_of_recorded_trials_is_taken_away(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "running").mkdir()
    for name in ("a", "b"):
        results.running_path(name).write_text("{}")
    results.write(Record("a", "failed"))
    sweep(results)
    assert [path.name for path in (tmp_path / "running").iterdir()] == ["b.json"]


@pytest.mark.long
@pytest.mark.slow
def test_two_drivers_share_a_study_and_one_outlives_the_other(
    tmp_path: Path, with_source: Path
) -> None:
    """Each with a Ray of its own on this machine; one is killed while it runs a trial."""
    results = tmp_path / "results"
    seeds = [str(seed) for seed in range(6)]
    more = ("--seeds", *seeds, "--cpus-per-trial", "1", "--keep-every", "1", "iterations=30")
    words = command(results, with_source, *more, "lr=0.001", study="variance")
    first, second = start(words), start(words)
    while first.poll() is None and len(starts(results)) < 2:
        time.sleep(0.05)
    first.kill()
    first.communicate()
    said, _ = second.communicate(timeout=250)
    assert second.returncode == 0 and "6 of 6 trials recorded" in said, said
    records = [json.loads(path.read_text()) for path in results.glob("records/*.json")]
    assert [record["status"] for record in records] == ["done"] * 6
    ended: set[str] = set()
    for event in events(results):
        assert event["event"] != "start" or event["hash"] not in ended
        if event["event"] != "start":
            ended.add(event["hash"])
    assert len(starts(results)) == 6
    again = subprocess.run(words, capture_output=True, text=True)
    assert "6 of 6 trials recorded" in again.stdout and len(again.stdout.splitlines()) == 3


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_images_are_rendered_and_prepared_where_a_file_system_has_no_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock._unix.fcntl, "flock", none)
    data = tiny(source_images=1).data
    assert len(open_streets(data, "source", "train", tmp_path / "cache")) == 1
    store: Any = SimpleNamespace(folder=tmp_path / "array")
    with (
        cache_writer._alone(store),
        pytest.raises(StvmError, match="another process prepares it"),
        cache_writer._alone(store),
    ):
        pass


def test_a_record_that_another_machine_has_written_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may hide it from this machine until it looks afresh."""
    results, name = Results(tmp_path), "0" * 12
    theirs = json.dumps({"schema": 1, "hash": name, "status": "done", "result": {"miou": 0.25}})

    def look(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(theirs)

    monkeypatch.setattr(results_module, "look_afresh", look)
    with pytest.raises(StvmError, match="is not overwritten"):
        results.write(Record(name, "done", result={"miou": 0.75}))
    assert results.record_path(name).read_text() == theirs
