"""What settings.compute changes, what it leaves, and that nothing stays switched after a trial."""

import copy
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.networks import build_network, forward_mode
from stvm.networks.forward_mode import DEFAULT_FORWARD, ForwardMode
from stvm.records.results import Results
from stvm.settings import ComputeSettings, Settings, TrainingSettings
from stvm.training import device
from stvm.training.builder import Adaptation, build_adaptation
from stvm.training.device import computing
from stvm.training.optim import make_optimizer
from stvm.trial.run_and_record import run_and_record
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")


def switches() -> tuple[Any, ...]:
    return (*device._switches(), os.environ.get(device.CUBLAS))


def adapted(steps: int = 2, **changes: Any) -> Adaptation:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    built = build_adaptation(tiny(**changes), source, 5)
    for iteration in range(1, steps + 1):
        built.step(torch.rand(2, 3, 32, 32), iteration)
    return built


def weights(adaptation: Adaptation) -> dict[str, Tensor]:
    metric = adaptation.metric
    assert metric
    return dict(adaptation.student.state_dict()) | {
        f"metric.{k}": v for k, v in metric.network.state_dict().items()
    }


def test_default_passes_are_the_networks_themselves() -> None:
    network = build_network("small_deeplab", 16, 5)
    assert DEFAULT_FORWARD.wrap(network.classifier) is network.classifier
    assert DEFAULT_FORWARD.predict(network) is network
    assert DEFAULT_FORWARD.prepare(network) is network


def test_bfloat16_passes_images_and_leaves_everything_else_float32() -> None:
    seen: list[torch.dtype] = []
    torch.manual_seed(0)
    source = build_network("small_deeplab", 16, 5)
    built = build_adaptation(tiny(precision="bfloat16"), source, 5)
    assert built.metric
    for module in (
        built.student.classifier,
        built.step.label.network.classifier,
        built.metric.network,
    ):
        module.branches[0].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    spied: list[Tensor] = []
    to_reliability = built.step.to_reliability

    def spy(distances: Tensor) -> Tensor:
        spied.append(distances)
        return to_reliability(distances)

    built.step.to_reliability = spy
    labels, confidence, _, features = built.step.label(torch.rand(2, 3, 32, 32))
    report = built.step(torch.rand(2, 3, 32, 32), 1)
    assert seen == [torch.bfloat16] * 4
    assert {t.dtype for t in (confidence, features, *spied)} == {torch.float32}
    assert report.loss.dtype == report.metric_loss.dtype == torch.float32
    assert {v.dtype for v in weights(built).values() if v.is_floating_point()} == {torch.float32}
    assert {p.grad.dtype for p in built.student.parameters()} == {torch.float32}  # type: ignore[union-attr]
    assert built.metric.proxies.dtype == built.metric.thresholds.values.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "near"),
    [({"precision": "bfloat16"}, 0.02), ({"channels_last": True}, 1e-4)],
)
def test_other_ways_of_computing_give_nearly_the_same_weights(
    changes: dict[str, Any], near: float
) -> None:
    # Without the draws that hang on single confidences.
    rest: dict[str, Any] = {"mocm": False, "aug": False}
    plain, other = weights(adapted(1, **rest)), weights(adapted(1, **rest, **changes))
    assert plain.keys() == other.keys()
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, atol=near, rtol=near)
    assert any(not torch.equal(other[name], value) for name, value in plain.items())


def test_channels_last_lays_out_weights_and_maps() -> None:
    built = adapted(1, channels_last=True)
    assert built.metric
    wide = torch.channels_last
    for network in (built.student, built.teacher, built.metric.network):
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                assert module.weight.is_contiguous(memory_format=wide)
    seen: list[Tensor] = []
    built.student.classifier.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    built.step(torch.rand(2, 3, 32, 32), 2)
    assert seen[0].is_contiguous(memory_format=wide) and not seen[0].is_contiguous()


NARROW = """
import torch
from stvm.networks.forward_mode import ForwardMode
from stvm.settings import ComputeSettings
from stvm.networks import build_network
torch.set_num_threads(1)
torch.manual_seed(0)
mode = ForwardMode(channels_last=True)
network = mode.prepare(build_network("small_deeplab", 16, 5).train())
for size in (64, 512):
    mode.predict(network)(torch.rand(1, 3, size, size)).sum().backward()
print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "DEFAULT"])
def test_narrow_convolutions_with_a_stride_crash_no_process(instructions: str) -> None:
    """oneDNN's issue 6035; with AVX2 it shows on small maps, with AVX-512 on large ones."""
    environment = {"ONEDNN_MAX_CPU_ISA": instructions, "MALLOC_CHECK_": "3"}
    done = subprocess.run(
        [sys.executable, "-c", NARROW],
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_only_narrow_convolutions_with_a_stride_are_given_the_pixels_they_take() -> None:
    torch.manual_seed(0)
    narrow, wide = nn.Conv2d(15, 20, 1, (2, 3)), nn.Conv2d(16, 20, 1, 2)
    maps = torch.rand(2, 15, 17, 18, requires_grad=True)
    expected = narrow(maps)
    gradients = torch.autograd.grad(expected.square().sum(), [maps, narrow.weight])
    passes = ForwardMode(channels_last=True)
    passes.prepare(passes.prepare(nn.ModuleList([narrow, wide])))
    assert (narrow.stride, wide.stride) == ((1, 1), (2, 2))
    for copied in (narrow, copy.deepcopy(narrow)):
        found = copied(maps.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected)
        again = torch.autograd.grad(found.square().sum(), [maps, copied.weight])
        torch.testing.assert_close(again, gradients)
    kept = ForwardMode().prepare(nn.Conv2d(3, 4, 1, 2))
    assert kept.stride == (2, 2)
    # Inductor chooses channels-last by itself.
    assert ForwardMode(compile=True).prepare(nn.Conv2d(3, 4, 1, 2)).stride == (1, 1)


@pytest.mark.slow
def test_compiled_passes_change_neither_keys_nor_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend that compiles nothing: what is looked at is the capture and the wrapping."""
    monkeypatch.setattr(forward_mode, "BACKEND", "eager")
    plain, compiled = adapted(3), adapted(3, compile=True)
    assert weights(plain).keys() == weights(compiled).keys()
    assert all(torch.equal(weights(compiled)[k], v) for k, v in weights(plain).items())
    assert type(copy.deepcopy(compiled.student)) is type(plain.student)
    # A labeller whose statistics follow by hooks is not compiled.
    tracked = adapted(2, compile=True, teacher_bn="track"), adapted(2, teacher_bn="track")
    states = [a.teacher.state_dict() for a in tracked]
    assert all(torch.equal(states[0][k], v) for k, v in states[1].items())


def test_a_labeller_in_bfloat16_follows_statistics_in_float32() -> None:
    teacher = adapted(2, precision="bfloat16", teacher_bn="track").teacher
    kept = [v for k, v in teacher.state_dict().items() if k.endswith("running_var")]
    assert kept and all(v.dtype == torch.float32 and v.isfinite().all() for v in kept)


@pytest.mark.parametrize("fails", [False, True])
def test_switches_are_thrown_in_the_block_and_restored_after_it(fails: bool) -> None:
    before = switches()
    settings = ComputeSettings(deterministic=True, precision="tf32")
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), computing(settings, CPU):
        assert switches() == (True, True, False, True, True, ":4096:8")
        with computing(ComputeSettings(cudnn_benchmark=True), CPU):
            assert switches() == (False, False, True, False, False, ":4096:8")
        assert switches() == (True, True, False, True, True, ":4096:8")
        if fails:
            raise ZeroDivisionError
    assert switches() == before


def test_a_cublas_workspace_of_the_users_own_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.CUBLAS, ":16:8")
    with computing(ComputeSettings(deterministic=True), CPU):
        assert os.environ[device.CUBLAS] == ":16:8"
    assert os.environ[device.CUBLAS] == ":16:8"


@pytest.mark.slow
def test_a_deterministic_trial_is_the_same_trial_under_another_name(
    tmp_path: Path, cache: Path
) -> None:
    plain = run_and_record(tiny(), Results(tmp_path), cache, CPU)
    strict = run_and_record(tiny(deterministic=True), Results(tmp_path), cache, CPU)
    assert strict.hash != plain.hash
    assert strict.result == plain.result
    assert not torch.are_deterministic_algorithms_enabled()


def test_determinism_and_the_fastest_algorithm_exclude_each_other() -> None:
    with pytest.raises(StvmError, match="cudnn_benchmark picks algorithms by their time"):
        Settings().replace(deterministic=True, cudnn_benchmark=True)


def test_where_patches_lie_is_no_part_of_a_trials_name() -> None:
    assert Settings().replace(patches_on="cpu").hash() == Settings().hash()
    assert Settings().replace(precision="tf32").hash() != Settings().hash()


def test_a_gpu_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "RTX 2080 Ti")
    before = switches()
    with (
        pytest.raises(StvmError, match="RTX 2080 Ti has no bfloat16: leave precision=float32"),
        computing(ComputeSettings(precision="bfloat16"), torch.device("cuda")),
    ):
        raise AssertionError
    assert switches() == before


def test_the_optimiser_is_fused_on_a_gpu_alone() -> None:
    network = build_network("small_deeplab", 16, 5)
    assert not make_optimizer(network, TrainingSettings()).defaults["fused"]

    class OnGpu(nn.Parameter):
        device = torch.device("cuda")  # type: ignore[assignment]

    asked: dict[str, Any] = {}
    for module in (network.features, network.classifier):
        for child in module.modules():
            for name, value in list(child._parameters.items()):
                if value is not None:
                    child._parameters[name] = OnGpu(value.detach())

    class Spy:
        def __init__(self, groups: Any, **given: Any) -> None:
            asked.update(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "SGD", Spy)
        make_optimizer(network, TrainingSettings())
    assert asked["fused"] is True


TOLD = (
    "CUDA out of memory. Tried to allocate 1.19 GiB. GPU 0 has a total capacity of 10.75 GiB of "
    "which 312.50 MiB is free. Including non-PyTorch memory, this process has 10.4 GiB in use."
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError(TOLD), r"tried to allocate 1.19 GiB, 312.50 MiB of the 10.75 GiB"),
        (RuntimeError("CUDA error: out of memory\nCompile with ..."), "ran out: set"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "ran out: set"),
    ],
)
def test_memory_that_runs_out_is_one_line_that_says_what_to_change(
    error: RuntimeError, words: str
) -> None:
    with pytest.raises(StvmError, match=words) as raised, computing(ComputeSettings(), CPU):
        raise error
    told = str(raised.value)
    assert "\n" not in told
    for setting in ("precision=bfloat16", "channels_last", "crop_height", "crop_width"):
        assert setting in told
    # A batch of one ends DeepLabV3 in its batch norm.
    assert "batch" not in told
    assert "--gpus-per-trial" in told


def test_a_trial_whose_memory_ran_out_stays_to_be_run(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*args: Any) -> None:
        raise torch.OutOfMemoryError(TOLD)

    with monkeypatch.context() as patch:
        patch.setattr("stvm.method.step.losses_of_parts", run_out)
        with pytest.raises(StvmError, match="memory of the GPU ran out"):
            run_and_record(tiny(), Results(tmp_path), cache, CPU)
    assert Results(tmp_path).read(tiny().hash()) is None
    assert run_and_record(tiny(), Results(tmp_path), cache, CPU).status == "done"


def test_another_error_stays_what_it_is() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        computing(ComputeSettings(), CPU),
    ):
        torch.rand(2, 3) @ torch.rand(2, 3)
