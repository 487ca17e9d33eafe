"""One trial a GPU: scheduled by Ray on GPUs that are only said to be there.

Ray counts the GPUs it is told of and shows a process those it may use by CUDA_VISIBLE_DEVICES;
neither needs one. What a trial does with its GPU is not seen here: the tasks only look.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stvm.errors import StvmError
from stvm.records.results import Results
from stvm.study import Trial
from stvm.tune import run_study, tasks
from stvm.tune.cluster import connected
from stvm.tune.options import RunOptions
from stvm.tune.slots import plan_slots
from stvm.tune.trainable import _prepare
from tests.helpers.tiny_settings import tiny

GPUS = 2


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    # The usual layout: the head has cores only, and more of them than a GPU's share. No more than
    # these: Ray starts a process for each at once.
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False}
    )
    try:
        nodes.add_node(num_cpus=4, num_gpus=GPUS)
        nodes.wait_for_nodes()
        yield str(nodes.address)
    finally:
        nodes.shutdown()


def look(config: dict[str, Any]) -> None:
    """In place of a trial: note the devices that this process sees, and stay a moment."""
    from ray import tune

    task = config["task"]
    begun = time.time()
    time.sleep(2.0)
    seen = {
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "gpu": task["gpu"],
        "begun": begun,
        "ended": time.time(),
    }
    (Path(task["results"]) / f"{task['name']}.json").write_text(json.dumps(seen))
    tune.report({"status": "done", "miou": 0.0})


def seen_by(
    count: int, gpus: float, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[dict[str, Any]]]:
    """What each of `count` trials with so many GPUs saw."""
    monkeypatch.setattr(tasks, "run_task", look)
    trials = [Trial("STvM", seed, 0, False, tiny(seed=seed)) for seed in range(count)]
    run_options = RunOptions(None, gpus, address, folder)
    with connected(run_options) as nodes:
        slots = plan_slots(nodes, run_options.cpus, run_options.gpus)
        errors = run_study.run_tasks("trial", trials, Results(folder), run_options, slots, False)
    assert errors == ()
    found = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert len(found) == count
    return f"{slots.count} at a time", found


def at_a_time(seen: list[dict[str, Any]]) -> int:
    """Most trials that overlapped."""
    return max(
        sum(other["begun"] <= one["begun"] < other["ended"] for other in seen) for one in seen
    )


@pytest.mark.slow
def test_a_gpu_a_trial_means_one_trial_a_gpu_and_one_device_in_sight(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, seen = seen_by(3, 1, address, tmp_path, monkeypatch)
    assert slots == "2 at a time" and all(trial["gpu"] for trial in seen)
    assert {trial["devices"] for trial in seen} == {"0", "1"}
    for device in ("0", "1"):
        assert at_a_time([trial for trial in seen if trial["devices"] == device]) == 1
    assert at_a_time(seen) <= GPUS


@pytest.mark.long
@pytest.mark.slow
def test_half_a_gpu_a_trial_lets_two_share_one_device(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, seen = seen_by(4, 0.5, address, tmp_path, monkeypatch)
    assert slots == "4 at a time"
    assert {trial["devices"] for trial in seen} <= {"0", "1"}


def task(gpu: bool) -> dict[str, Any]:
    return {"directory": os.getcwd(), "threads": torch.get_num_threads(), "gpu": gpu}


def test_a_task_with_a_gpu_runs_on_the_one_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _prepare(task(gpu=False)) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StvmError, match="install a CUDA build of torch"):
        _prepare(task(gpu=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert _prepare(task(gpu=True)) == torch.device("cuda")
