"""The estimate of memory is what a real step keeps, saves and allocates."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studies.__main__ import main
from stvm.data.datasets import labelling_of
from stvm.memory import estimate, memory_report, tensors
from stvm.method.losses import weighted_cross_entropy
from stvm.networks import SegmentationNetwork, build_network
from stvm.settings import Settings
from stvm.study import Trial
from stvm.training.builder import Adaptation, build_adaptation
from stvm.tune.run_study import show_memory
from tests.helpers.tiny_settings import tiny

CLASSES = 19
SMALL: dict[str, Any] = {"crop_height": 64, "crop_width": 64, "channels": 32}


@lru_cache
def phase(name: str, settings: Settings) -> estimate.Phase:
    # With a checkpoint there is no source model to train.
    found = estimate.phases(settings.replace(source_checkpoint="none"))
    return {phase.name: phase for phase in found}[name]


def real(settings: Settings) -> tuple[SegmentationNetwork, Adaptation]:
    torch.manual_seed(0)
    source = build_network("small_deeplab", settings.network.channels, CLASSES).eval()
    adaptation = build_adaptation(settings, source, labelling_of(settings.data).num_classes)
    return source, adaptation


def crop(settings: Settings) -> Tensor:
    training = settings.training
    return torch.rand(training.batch, 3, training.crop_height, training.crop_width)


def bytes_of(tensors: Iterator[Tensor]) -> int:
    """Each tensor by its own numbers; none of those given shares a storage."""
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.slow
def test_weights_states_and_gradients_are_those_of_a_real_step() -> None:
    settings = tiny(**SMALL)
    source, adaptation = real(settings)
    adaptation.step(crop(settings), 1)
    parts = phase("adaptation", settings).parts
    metric = adaptation.metric
    assert metric
    modules = (source, adaptation.student, adaptation.teacher, metric.network)
    tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
    assert parts["weights"] == bytes_of(iter([*tensors, metric.proxies]))
    states = (s for o in adaptation.optimizers for s in o.state.values())
    assert parts["optimiser states"] == bytes_of(v for s in states for v in s.values())
    trained = [*adaptation.student.parameters(), *metric.network.parameters(), metric.proxies]
    assert parts["gradients"] == bytes_of(p.grad for p in trained if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"precision": "bfloat16"}, {"channels_last": True}])
def test_saved_activations_are_those_of_a_real_pass(changes: dict[str, Any]) -> None:
    """Counted here by address and size of real tensors."""
    settings = tiny(**SMALL, **changes)
    _, adaptation = real(settings)
    own = {t.untyped_storage().data_ptr() for t in tensors.values_of(adaptation.student)}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    images = crop(settings)
    labels = torch.zeros(images.shape[0], *images.shape[2:], dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        weighted_cross_entropy(
            adaptation.step.student(images), labels, torch.rand(labels.shape), "pixels"
        )
    expected = sum(t.untyped_storage().nbytes() for a, t in saved.items() if a not in own)
    found = phase("adaptation", settings).parts["activations kept for the backward pass"]
    # torch's fakes take the statistics that batch norm saves as bfloat16; kernels save float32.
    slack = 2e-3 * expected if settings.compute.precision == "bfloat16" else 0
    assert expected > 2**20 and abs(found - expected) <= slack


@pytest.mark.slow
def test_the_peak_is_near_what_the_allocator_gives_a_real_step() -> None:
    """All that torch's allocator gave and took back in a step of a full-sized batch for its size.

    The profiler sees workspaces of the CPU's convolutions too, which the estimate leaves to its
    allowances, and the estimate leaves out pixel draws and augmentation: a tenth either way.
    """
    settings = tiny(**SMALL | {"batch": 8, "channels": 64, "mocm": False, "aug": False})
    _, adaptation = real(settings)
    images = crop(settings)
    for iteration in (1, 2):
        adaptation.step(images, iteration)
    standing = sum(tensors.size_of(tensors.gradients_of(o)) for o in adaptation.optimizers)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        adaptation.step(images, 3)
    now = peak = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    parts = phase("adaptation", settings).parts
    estimated = sum(
        parts[name] for name in (estimate._ACTIVATIONS, estimate._TEMPORARY, "gradients")
    )
    assert peak > 2**24
    assert estimated == pytest.approx(peak + standing, rel=0.1)


def test_live_counts_what_lives_and_its_most() -> None:
    with tensors.MemoryMeter() as live:
        a = torch.zeros(256)
        b = a.view(16, 16)
        c = a + 1
        assert live.now == live.peak == 2048
        del a
        assert live.now == 2048
        del b
        assert live.now == 1024
        c.add_(1)
        assert (live.now, live.peak) == (1024, 2048)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "pixel"), [({}, 8), ({"patch_image": "augmented"}, 17), ({"patches_on": "cpu"}, 0)]
)
def test_the_bank_counts_as_full_of_patches_as_large_as_a_crop(
    changes: dict[str, Any], pixel: int
) -> None:
    parts = phase("adaptation", tiny(**changes)).parts
    assert parts.get("patch bank, full", 0) == CLASSES * 50 * 32 * 32 * pixel


def test_a_bank_that_is_full_takes_what_is_counted() -> None:
    settings = tiny(buffer_size=2, crop_height=16, crop_width=16)
    _, adaptation = real(settings)
    bank: Any = adaptation.step.bank
    images = torch.zeros(1, 3, 16, 16)
    for label in range(CLASSES):
        labels = torch.full((1, 16, 16), label)
        for _ in range(3):
            bank.store(images, labels, torch.rand(1, 16, 16), torch.zeros(1, 16, 16))
    kept = [t for b in bank.patches for p in b for t in (p.image, p.mask, p.reliability)]
    assert bytes_of(iter(kept)) == estimate.largest_bank(settings)


@pytest.mark.slow
def test_phases_follow_the_trial() -> None:
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    names = [found.name for found in estimate.phases(tiny())]
    assert names == ["source training", "adaptation", "evaluation"]
    assert [f.name for f in estimate.phases(tiny(**off, source_checkpoint="x"))] == ["evaluation"]
    plain = phase("adaptation", tiny(mgs=False, mocm=False))
    assert plain.parts["optimiser states"] < phase("adaptation", tiny()).parts["optimiser states"]
    assert plain.peak > plain.counted + sum(estimate.ALLOWANCES.values())


@pytest.mark.slow
def test_whole_images_of_a_batch_count() -> None:
    """DT-ST's teacher scores them: larger images take logits of every class in float32, and more.

    Crops, and with them the student's activations, stay as they are.
    """
    sizes = ((32, 64), (96, 128))
    small, large = (
        phase("adaptation", tiny(batch=2, height=high, width=wide).replace(procedure="dtst")).parts
        for high, wide in sizes
    )
    more = 2 * (96 * 128 - 32 * 64)
    assert large[estimate._ACTIVATIONS] == small[estimate._ACTIVATIONS]
    assert large[estimate._TEMPORARY] - small[estimate._TEMPORARY] >= more * CLASSES * 4


@pytest.mark.slow
def test_an_estimate_leaves_generators_and_modules_as_they_were() -> None:
    before = torch.get_rng_state()
    estimate.phases(tiny())
    assert torch.equal(torch.get_rng_state(), before)
    module = torch.nn.Linear(2, 2).to(torch.float64)
    assert module.weight.dtype == torch.float64 and type(module.weight.data) is Tensor


@pytest.mark.slow
def test_a_gpu_that_is_too_small_is_warned_of_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [phase("adaptation", tiny()), phase("evaluation", tiny())]
    monkeypatch.setattr(memory_report, "phases", lambda settings: found)
    text = "\n".join(memory_report.lines(tiny(), memory=2**29))
    assert "the paper's RTX 2080 Ti has 11.00 GiB" in text
    assert "the GPU has 0.50 GiB" in text and "too little" in text
    warning = text.splitlines()[-1]
    assert warning.startswith("warning: memory may run out in")
    assert "precision=bfloat16" in warning
    fits = memory_report.lines(tiny(), memory=2**35)
    assert not any("warning" in line or "too little" in line for line in fits)
    assert any(
        "a 0.5 share of the GPU is 16.00 GiB" in line
        for line in memory_report.lines(tiny(), memory=2**35, share=0.5)
    )


def test_the_largest_trial_of_a_study_is_shown() -> None:
    off = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
    trials = [tiny(**off), tiny(mocm=False), tiny(), tiny(n_f=8)]
    assert memory_report.largest(trials) is trials[2]


def test_the_memory_of_a_gpu_is_asked_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory_report.gpu_memory() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 24576\necho 11264\n")
    tool.chmod(0o755)
    assert memory_report.gpu_memory() == 11 * 2**30
    tool.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert memory_report.gpu_memory() is None


@pytest.mark.slow
def test_the_command_prints_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--gib", "24", "crop_height=32", "crop_width=32", "channels=16"]) == 0
    said = capsys.readouterr().out
    assert "adaptation" in said and "patch bank, full" in said and "24.00 GiB" in said
    assert main(["memory", "alhpa=1"]) == 2
    assert "did you mean 'alpha'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "8GB"])
def test_a_size_of_memory_that_is_none_is_refused_before_the_estimate(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["memory", f"--gib={text}"])
    said = f"'{text}' is no size in GiB: give a number such as 11 or 7.8"
    see = "see python -m studies memory --help"
    assert capsys.readouterr().err == f"error: argument --gib: {said}; {see}\n"


def test_a_study_shows_the_estimate_and_never_ends_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [phase("adaptation", tiny())]
    monkeypatch.setattr(memory_report, "phases", lambda settings: found)
    trials = [Trial("STvM", 0, 0, False, tiny())]
    show_memory(trials, 1.0)
    assert "the paper's RTX 2080 Ti has 11.00 GiB" in capsys.readouterr().out

    def changed(settings: Settings) -> list[estimate.Phase]:
        raise AttributeError("no such fake")

    monkeypatch.setattr(memory_report, "phases", changed)
    show_memory(trials, 1.0)
    assert capsys.readouterr().out == (
        "GPU memory is not estimated: AttributeError: no such fake\n"
    )
