"""Joining a cluster: slots, what nodes must share, and a node that dies."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stvm.errors import StvmError
from stvm.tune import cluster
from stvm.tune.cluster import code_fingerprint
from tests.studies.test_ablation import command, events

ROOT = Path(__file__).resolve().parents[2]


def answer(**changes: Any) -> dict[str, Any]:
    return {"unseen": [], "code": "abc", "root": "/there/stvm"} | changes


def test_what_nodes_answer_becomes_one_line_that_names_node_and_folder() -> None:
    cluster._judge("n (1.2.3.4)", answer(), "abc")
    for said, words in (
        (answer(unseen=["/data/results"]), r"folder /data/results .* node n \(1.2.3.4\).*--cache"),
        (answer(code=None, reason="No module named 'stvm'"), "cannot import stvm: No module"),
        (answer(code="xyz"), "another stvm in /there/stvm"),
    ):
        with pytest.raises(StvmError, match=words):
            cluster._judge("n (1.2.3.4)", said, "abc")


def test_the_question_is_answered_truly_where_a_folder_is_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function that is sent to a node, run here; a folder of the same name is not enough."""
    sent: list[Any] = []

    class Remote:
        def __init__(self, function: Any) -> None:
            self.function = function

        def options(self, **given: Any) -> "Remote":
            assert given["num_cpus"] == 0 and given["scheduling_strategy"].node_id == "a" * 56
            return self

        def remote(self) -> Any:
            sent.append(self.function())
            return sent[-1]

    monkeypatch.setattr(cluster.ray, "remote", Remote)
    here, other = tmp_path / "here", tmp_path / "other"
    other.mkdir()
    with cluster._tokens([here]) as tokens:
        cluster._asker([str(t) for t in tokens], str(tmp_path))("a" * 56)
        cluster._asker([str(other / tokens[0].name)], str(tmp_path / "gone"))("a" * 56)
    good, bad = sent
    assert good["unseen"] == [] and good["code"] == code_fingerprint(ROOT / "stvm")
    assert bad["unseen"] == [str(other), str(tmp_path / "gone")]
    assert not list(here.iterdir())


def test_a_fingerprint_changes_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = code_fingerprint(tmp_path)
    assert before == code_fingerprint(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert code_fingerprint(tmp_path) != before


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        second = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes, second
    finally:
        nodes.shutdown()


def start(words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def trials_of_seconds(results: Path, cache: Path, seeds: int, *more: str) -> list[str]:
    """A study of equal trials, each long enough to be met while it runs."""
    numbers = [str(seed) for seed in range(seeds)]
    more = ("--seeds", *numbers, *more, "iterations=80", "lr=0.001")
    return command(results, cache, *more, study="variance")


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def assert_none_started_after_its_end(results: Path) -> None:
    ended: set[str] = set()
    for event in events(results):
        assert event["hash"] not in ended, f"{event['event']} after its end"
        if event["event"] != "start":
            ended.add(event["hash"])


@pytest.mark.long
@pytest.mark.slow
def test_a_study_outlives_one_of_its_two_nodes(
    two_nodes: Any, tmp_path: Path, with_source: Path
) -> None:
    nodes, second = two_nodes
    results = tmp_path / "results"
    raylet = second.all_processes["raylet"][0].process.pid
    driver = start(trials_of_seconds(results, with_source, 6, "--address", nodes.address))
    seen = 0
    while driver.poll() is None:
        # Just started there, so that it cannot end before its node does.
        told = events(results)
        fresh, seen = told[seen:], len(told)
        there = [e for e in fresh if e["event"] == "start" and parent(int(e["pid"])) == raylet]
        if there and list(results.glob("records/*.json")):
            break
        time.sleep(0.02)
    assert driver.poll() is None, driver.communicate()[0]
    nodes.remove_node(second, allow_graceful=False)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert "6 trials, 2 at a time" in said and "6 of 6 trials recorded" in said
    assert re.search(r"its (process or )?node.*; it will run again", said), said
    assert "Traceback" not in said and "raylet" not in said, said
    assert {json.loads(p.read_text())["status"] for p in results.glob("records/*.json")} == {"done"}
    assert_none_started_after_its_end(results)


@pytest.mark.long
@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_is_an_error_and_the_rest_goes_on(
    tmp_path: Path, with_source: Path
) -> None:
    results = tmp_path / "results"
    words = trials_of_seconds(results, with_source, 3)
    driver = start(words)
    victim, killed = "", set[int]()
    while driver.poll() is None and len(killed) < 3:
        for event in events(results):
            victim = victim or (event["hash"] if "seed 0" in str(event) else "")
            if event["event"] == "start" and event["hash"] == victim:
                pid = int(event["pid"])
                if pid not in killed:
                    killed.add(pid)
                    os.kill(pid, 9)
        time.sleep(0.02)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 1 and len(killed) == 3, said
    assert said.count("it will run again") == 2
    assert "error: STvM realisation 0 seed 0: its process was killed or crashed" in said
    assert "2 of 3 trials recorded" in said
    assert_none_started_after_its_end(results)
