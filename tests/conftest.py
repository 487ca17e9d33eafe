"""Trials that several test files look at; they are run once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stvm.records.results import Results
from stvm.settings.presets import find_preset
from stvm.source_model.ensure import ensure_source
from stvm.trial.run_and_record import run_and_record
from tests.helpers.command_output import DIVERGING
from tests.helpers.tiny_settings import TINY, tiny

TURNS = {
    "one": (
        *("test_ablation", "test_cluster", "test_gpu_slots", "test_kills", "test_readme"),
        "test_commands",
    ),
    "another": (
        *("test_scenarios", "test_search_command", "test_sharing", "test_gpu_command"),
        "test_objectives",
    ),
}
"""Files whose slow tests start Ray: those of a turn run one after another in one process, since
Ray takes all cores as its own."""

MADE_ONCE = {"recorded": "recorded", "test_report_page": "results"}
"""Group of tests to the fixture that they share: one process makes it, and runs them all."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """At most two tests of `-n` start Ray at a time, and what tests share is made once."""
    for item in items:
        for turn, files in TURNS.items():
            if item.get_closest_marker("slow") and item.path.stem in files:
                item.add_marker(pytest.mark.xdist_group(turn))
        for group, fixture in MADE_ONCE.items():
            if fixture in getattr(item, "fixturenames", ()) and group in (fixture, item.path.stem):
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all processes of `-n`: each source model is trained once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def with_source(cache: Path) -> Path:
    """A cache with the source model from which commands on the tiny settings start."""
    settings = find_preset("demo").settings(**TINY)
    ensure_source(settings, cache, torch.device("cpu"))
    return cache


@pytest.fixture
def tune_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The studies of this test run in this process, and no Ray is started."""
    # Ray takes seconds to import, which only some tests need.
    from tests.helpers.tune_here import replace_ray

    threads = torch.get_num_threads()
    replace_ray(monkeypatch)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """One trial that is done, one without adaptation, and one that diverged."""
    root = tmp_path_factory.mktemp("recorded")
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    for settings, variant in (
        (tiny(), "STvM realisation 0 seed 0"),
        (tiny(**off), "Source realisation 0"),
        (tiny(**DIVERGING), "STvM realisation 0 seed 0"),
    ):
        run_and_record(settings, Results(root), cache, torch.device("cpu"), variant)
    return root
