"""An interrupted trial goes on from its last state and ends as if nothing had happened."""

import copy
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stvm.data.datasets import open_target_images
from stvm.files import Unreadable
from stvm.method.patches import PatchBank
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.supervised import load_source
from stvm.training import resume
from stvm.training.adaptation import Training, adapt
from stvm.training.builder import build_bank
from stvm.training.resume import TrainingCheckpoint, start_or_resume
from stvm.training.seeding import restore_random_states
from stvm.trial.run_and_record import run_and_record
from stvm.tune import trainable
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
THREADS = torch.get_num_threads()
ALL = {
    "ema_period": 4,
    "iterations": 12,
    "teacher_bn": "ema",
    "source_iterations": 150,
}
"""The source model must tell classes apart for the buffers to fill."""


class Stop(Exception):
    pass


def stop_at(iteration: int) -> Any:
    def progress(done: int, total: int, watch: object = None) -> None:
        if done == iteration:
            raise Stop

    return progress


def equal(a: Any, b: Any) -> bool:
    """Nested states, to the bit."""
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape
        # By bytes, since a threshold of a class not met yet is nan.
        return same and a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def final_state(
    settings: Settings, cache: Path, checkpoint: TrainingCheckpoint | None
) -> dict[str, Any]:
    """All that changes, after the last iteration."""
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    adaptation, log = adapt(settings, source, images, 19, None, checkpoint)
    return {
        "adaptation": adaptation.state_dict(),
        "curve": log.curve,
        "watch": log.watch,
        "torch": torch.get_rng_state(),
    }


# With updates of the teacher at 4, 8 and 12: after one, between two, and before the last.
@pytest.mark.slow
@pytest.mark.parametrize("iteration", [4, 6, 11])
def test_interrupted_and_resumed_ends_with_the_same_weights_to_the_bit(
    iteration: int, cache: Path, tmp_path: Path
) -> None:
    settings = tiny(**ALL)
    whole = final_state(settings, cache, None)
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    checkpoint = TrainingCheckpoint(tmp_path / "state.pt", {"hash": "x"}, every_s=0)
    with pytest.raises(Stop):
        adapt(settings, source, images, 19, stop_at(iteration), checkpoint)
    kept = torch.load(tmp_path / "state.pt", weights_only=True)["state"]
    assert kept["iteration"] == iteration
    assert sum(len(buffer) for buffer in kept["adaptation"]["bank"]["buffers"]) > 10
    torch.randn(100)
    again = TrainingCheckpoint(tmp_path / "state.pt", {"hash": "x"}, every_s=1e9)
    resumed = final_state(settings, cache, again)
    assert again.resumed == {"iteration": iteration, "device": "cpu", "threads": THREADS}
    assert equal(resumed, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"mgs": False, "mocm": False},
        pytest.param({"mt": False, "mgs": False, "mocm": False}, marks=pytest.mark.long),
        {"mgs": False, "mocm": False, "metric_alongside": True},
        pytest.param({"teacher_bn": "track"}, marks=pytest.mark.long),
        {"start_bn": 0.5, "student_bn": "share", "teacher_bn": "copy"},
        pytest.param(
            {"start_bn": 0.5, "mt": False, "mgs": False, "mocm": False}, marks=pytest.mark.long
        ),
        {"workers": 1},
        pytest.param({"network": "espnetv2", "network_width": 0.5}, marks=pytest.mark.long),
    ],
)
def test_every_variant_resumes_alike(changes: dict[str, Any], cache: Path, tmp_path: Path) -> None:
    settings = tiny(**(ALL | changes))
    whole = run_and_record(settings, Results(tmp_path / "a"), cache, CPU)
    interrupted = Results(tmp_path / "b")
    with pytest.raises(Stop):
        run_and_record(settings, interrupted, cache, CPU, progress=stop_at(7), every_s=0)
    resumed = run_and_record(settings, interrupted, cache, CPU)
    assert resumed.run["resumed_from"] == 7
    assert resumed.result == whole.result
    assert not list((tmp_path / "b" / "checkpoints").glob("*.pt"))


@pytest.mark.slow
def test_an_interrupted_source_model_and_oracle_end_the_same_to_the_bit(
    cache: Path, tmp_path: Path
) -> None:
    settings = tiny(**(ALL | {"source_iterations": 20, "source_augment": 0.5}))
    whole = ensure_source(settings, cache, CPU)
    with pytest.raises(Stop):
        ensure_source(settings, tmp_path, CPU, stop_at(13), every_s=0)
    assert list((tmp_path / "sources").glob("*.state"))
    again = ensure_source(settings, tmp_path, CPU)
    state = torch.load(again, weights_only=True)
    assert equal(state, torch.load(whole, weights_only=True))
    assert not list((tmp_path / "sources").glob("*.state"))

    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    oracle = settings.replace(procedure="oracle", **off)
    expected = run_and_record(oracle, Results(tmp_path / "a"), cache, CPU)
    with pytest.raises(Stop):
        run_and_record(oracle, Results(tmp_path / "b"), cache, CPU, "", False, stop_at(11), 0)
    resumed = run_and_record(oracle, Results(tmp_path / "b"), cache, CPU)
    assert resumed.run["resumed_from"] == 11 and resumed.result == expected.result


def everything(training: Training) -> dict[str, Any]:
    """What a step may change, looked up where it lives and not by `state_dict`."""
    adaptation = training.adaptation
    metric, bank = adaptation.metric, adaptation.step.bank
    assert metric
    return {
        "student": dict(adaptation.student.named_parameters()),
        "buffers": dict(adaptation.student.named_buffers()),
        "teacher": dict(adaptation.teacher.named_parameters()),
        "teacher buffers": dict(adaptation.teacher.named_buffers()),
        "metric": dict(metric.network.named_parameters()),
        "proxies": metric.proxies,
        "thresholds": metric.thresholds.values,
        "draws": [metric.generator.get_state(), bank.generator.get_state()],
        "patches": [[vars(patch) for patch in buffer] for buffer in bank.patches],
        "rates": [[g["lr"] for g in o.param_groups] for o in adaptation.optimizers],
        "moments": [
            list(values.values()) for o in adaptation.optimizers for values in o.state.values()
        ],
        "torch": torch.get_rng_state(),
    }


def test_a_restored_training_takes_the_same_next_step(cache: Path) -> None:
    settings = tiny(**ALL)
    source = load_source(settings, ensure_source(settings, cache, CPU), CPU)
    images = open_target_images(settings.data, cache)
    batches = [torch.rand(2, 3, 32, 32) for _ in range(4)]
    one = Training(settings, source, images, 19)
    for iteration, batch in enumerate(batches[:3], start=1):
        one.step(batch, iteration)
    state = copy.deepcopy(one.state_dict(3))
    before = copy.deepcopy(everything(one))
    one.step(batches[3], 4)
    expected = everything(one)
    two = Training(settings, source, images, 19)
    two.load_state_dict(state)
    restore_random_states(state["random"])
    assert equal(everything(two), before)
    two.step(batches[3], 4)
    found = everything(two)
    assert {k for k in expected if not equal(found[k], expected[k])} == set()
    assert not [k for k in expected if equal(before[k], expected[k])]


def test_patches_come_back_on_the_device_of_the_networks() -> None:
    bank = build_bank(tiny(mocm=True), 19, torch.device("meta"))
    patch = {"image": torch.rand(3, 2, 2), "mask": torch.ones(2, 2, dtype=torch.bool)}
    patch |= {"reliability": torch.rand(2, 2)}
    kept = [[patch | {"top": 0, "left": 0, "area": 4}]] + [[]] * 18
    generator = torch.Generator().get_state()
    state = {"buffers": kept, "banked": [1] + [0] * 18, "generator": generator}
    bank.set_extra_state(state)
    assert isinstance(bank, PatchBank)
    tensors = [v for v in vars(bank.patches[0][0]).values() if isinstance(v, torch.Tensor)]
    assert [t.device.type for t in tensors] == ["meta"] * 3


@pytest.mark.slow
def test_a_state_of_another_shape_is_moved_aside_and_the_trial_begins_afresh(
    cache: Path, tmp_path: Path
) -> None:
    settings = tiny(**ALL)
    # Made before: the training of a source model tells its iterations to `progress` too.
    ensure_source(settings, cache, CPU)
    results = Results(tmp_path / "b")
    with pytest.raises(Stop):
        run_and_record(settings, results, cache, CPU, progress=stop_at(7), every_s=0)
    path = next((tmp_path / "b" / "checkpoints").glob("*.pt"))
    kept = torch.load(path, weights_only=True)
    del kept["state"]["adaptation"]["metric"]
    torch.save(kept, path)
    afresh = run_and_record(settings, results, cache, CPU)
    whole = run_and_record(settings, Results(tmp_path / "a"), cache, CPU)
    assert afresh.result == whole.result
    assert "resumed_from" not in afresh.run
    assert Path(afresh.run["state_set_aside"]).exists()


@pytest.mark.slow
def test_a_worker_tells_of_a_state_that_it_could_not_go_on_from(
    cache: Path, tmp_path: Path
) -> None:
    settings = tiny(**ALL)
    results = Results(tmp_path)
    TrainingCheckpoint(results.state_path(settings.hash()), {"hash": "another"}).save(
        {"iteration": 3}, CPU
    )
    task = {
        **{"kind": "trial", "settings": settings.model_dump(mode="json"), "cache": str(cache)},
        **{"results": str(tmp_path), "label": "STvM", "retry_failed": False, "failed": ""},
        **{"keep_every": 300.0, "waits": False, "tensorboard": False},
    }
    told = trainable._do(task, CPU)
    assert told["status"] == "done"
    assert told["set_aside"] == str(results.state_path(settings.hash()).with_suffix(".unusable"))


def test_a_state_of_something_else_or_damaged_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    TrainingCheckpoint(path, {"hash": "a"}).save({"iteration": 3}, CPU)
    assert (TrainingCheckpoint(path, {"hash": "a"}).load() or {})["iteration"] == 3
    assert TrainingCheckpoint(path, {"hash": "b"}).load() is None
    assert not path.exists() and path.with_suffix(".unusable").exists()
    path.write_bytes(b"cut off")
    assert TrainingCheckpoint(path, {"hash": "a"}).load() is None and not path.exists()


@pytest.mark.slow
def test_a_metric_network_alongside_changes_nothing_but_what_is_measured(
    cache: Path, tmp_path: Path
) -> None:
    off = {"mgs": False, "mocm": False}
    plain = run_and_record(tiny(**ALL, **off), Results(tmp_path / "a"), cache, CPU)
    with_metric = run_and_record(
        tiny(**ALL, **off, metric_alongside=True), Results(tmp_path / "b"), cache, CPU
    )
    assert plain.hash != with_metric.hash
    assert plain.result["student"] == with_metric.result["student"]
    assert plain.result["teacher"] == with_metric.result["teacher"]
    assert plain.result["silhouette"] is None
    assert set(with_metric.result["silhouette"]) == {"truth", "prediction"}


class Failing(io.BufferedReader):
    """A file whose disk stops answering after its first bytes."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(io.FileIO(path))
        self.number, self.asked = number, 0

    def _fail(self) -> None:
        self.asked += 1
        if self.asked > 2:
            raise OSError(self.number, os.strerror(self.number))

    def read(self, *size: Any) -> bytes:
        self._fail()
        return super().read(*size)

    def readinto(self, buffer: Any) -> int:
        self._fail()
        return super().readinto(buffer)


@pytest.mark.parametrize("kind", ["stale", "io", "opened", "memory", "torch", "gpu"])
def test_a_state_that_cannot_be_read_now_stays_for_the_next_start(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    TrainingCheckpoint(path, {"hash": "a"}).save({"iteration": 3, "weights": torch.ones(9999)}, CPU)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> Any:
        raise {
            "opened": PermissionError(errno.EACCES, "Permission denied"),
            "memory": MemoryError(),
            "torch": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."),
            "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        }[kind]

    with monkeypatch.context() as patch:
        if kind in ("stale", "io"):
            number = errno.ESTALE if kind == "stale" else errno.EIO
            patch.setattr(resume, "open", lambda *_: Failing(path, number), raising=False)
        elif kind == "opened":
            patch.setattr(resume, "open", fail, raising=False)
        else:
            patch.setattr(torch, "load", fail)
        with pytest.raises(Unreadable, match="cannot read .*state.pt: ") as told:
            TrainingCheckpoint(path, {"hash": "a"}).load()
    assert "\n" not in str(told.value) and "move it away" not in str(told.value)
    assert path.read_bytes() == before
    assert (TrainingCheckpoint(path, {"hash": "a"}).load() or {})["iteration"] == 3


def test_a_state_that_finds_no_room_on_the_gpu_stays_too(tmp_path: Path) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "state.pt", {"hash": "a"})
    checkpoint.save({"iteration": 3}, CPU)

    class Training:
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    with pytest.raises(torch.OutOfMemoryError):
        start_or_resume(Training, checkpoint)
    assert checkpoint.path.exists() and checkpoint.set_aside is None


def test_a_source_models_state_of_an_earlier_version_is_gone_on_from(tmp_path: Path) -> None:
    """What it holds has not changed since, as an adaptation's has."""
    settings = tiny(source_iterations=8)
    whole = load_file(ensure_source(settings, tmp_path / "a", CPU))
    with pytest.raises(Stop):
        ensure_source(settings, tmp_path / "b", CPU, stop_at(5), 0)
    (path,) = (tmp_path / "b" / "sources").glob("*.state")
    kept = torch.load(path, weights_only=True)
    # As the version before this one signed it.
    signed = {"hash": path.stem, "format": "1", "stvm": "0.1.0"}
    signed["torch"] = str(torch.__version__)
    torch.save(kept | {"identity": signed}, path)
    seen: list[int] = []
    made = ensure_source(settings, tmp_path / "b", CPU, lambda done, *_: seen.append(done))
    assert seen == [6, 7, 8] and equal(load_file(made), whole)
