"""Memory that a worker gives back after each trial."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from stvm.trial.freed_memory import give_memory_back
from stvm.tune import trainable as worker


def test_nothing_happens_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: Any) -> Any:
        raise OSError(name)

    for library in (missing, lambda _: SimpleNamespace()):
        monkeypatch.setattr(ctypes, "CDLL", library)
        give_memory_back()


def test_glibc_is_asked_to_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    library = SimpleNamespace(malloc_trim=lambda pad: asked.append(pad.value))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    give_memory_back()
    assert asked == [0]


def test_a_worker_gives_memory_back_however_a_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(worker, "give_memory_back", lambda: calls.append("given"))
    monkeypatch.setattr(worker.tune, "report", lambda news: calls.append(str(news)))
    monkeypatch.setattr(worker, "_prepare", lambda task: None)
    monkeypatch.setattr(worker, "_do", lambda task, device: {"status": "done"})
    worker.trainable({"task": {}})

    def ended(task: Any, device: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "_do", ended)
    with pytest.raises(KeyboardInterrupt):
        worker.trainable({"task": {}})
    assert calls == ["{'status': 'done'}", "given", "given"]
