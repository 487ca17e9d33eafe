"""What a worker reports to Tune while a task runs."""

from types import SimpleNamespace
from typing import Any

import pytest

from stvm.tune import trainable as worker


def test_images_of_a_pass_are_reported_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each image takes ten seconds, and more than thirty lie between two reports of any kind."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: clock.now))
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr(worker.tune, "report", reports.append)
    reporter = worker._Reporter(30.0, prunes=False)
    for image in range(1, 12):
        clock.now += 10
        reporter.tell_pass("pass before round 1 of 7", image, 12)
    told = {"pass": "pass before round 1 of 7", "images": 12}
    assert reports == [told | {"image": 4}, told | {"image": 8}]
    # Three images since the last report: the iteration that follows is told ten seconds later.
    reporter(1, 60)
    assert len(reports) == 2
    clock.now += 10
    reporter(2, 60)
    assert reports[2] == {"iteration": 2, "of": 60, "begun": 0}
