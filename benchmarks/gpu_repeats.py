"""Whole trials on the device: deterministic ones twice, and one a GPU through Ray."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gpu_rows import Row, Skipped, noted
from gpu_steps import NETWORKS, adaptation_of, batches, free, in_turns, settings_of, source_of
from tiny_trial import TINY_TRIAL
from torch import Tensor
from torch.utils._pytree import tree_leaves

from stvm.settings import Settings
from stvm.settings.presets import find_preset
from stvm.training.device import computing

TINY: dict[str, Any] = TINY_TRIAL | {"multi_scale": True, "deterministic": True}
"""A trial of all parts that takes seconds; its end measures everything, the silhouette too."""

SHORT = {
    "source_images": 300,
    "target_images": 300,
    "eval_images": 50,
    "source_iterations": 600,
    "iterations": 200,
}
"""The demo's trial, shortened."""


def deterministic(device: torch.device, toy: bool) -> Iterator[Row]:
    """Whole small trials and full-size steps, each taken twice."""
    for name, changes in _trials(toy):
        row: Row = {"taken twice": name}
        with noted(row):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="stvm-gpu-") as folder:
                settings = Settings().replace(**(TINY | changes))
                found = [ended(settings, Path(folder), device) for _ in range(2)]
            row |= {"seconds": time.perf_counter() - began, "passed": found[0] == found[1]}
        free(device)
        yield row
    for network in NETWORKS[:1] if toy else NETWORKS:
        row = {"taken twice": f"three full-size steps, {network}"}
        with noted(row):
            row |= full_size(network, device, toy)
        free(device)
        yield row


def _trials(toy: bool) -> list[tuple[str, dict[str, Any]]]:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("a trial, all parts", {}),
        ("an oracle", _off() | {"procedure": "oracle"}),
        ("AdaBN", _off() | {"procedure": "adabn"}),
    ]
    if toy:
        return rows[:1]
    large = {"network": "deeplabv3_resnet50", "source_iterations": 2, "iterations": 3}
    raw = {"mocm": False, "teacher_bn": "track", "labeller_bn": "batch", "loss_norm": "weights"}
    return [*rows, ("a trial, other settings", raw), ("a trial, deeplabv3_resnet50", large)]


def _off() -> dict[str, Any]:
    return dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)


def ended(settings: Settings, cache: Path, device: torch.device) -> tuple[str, bytes]:
    """What a trial found, and its network, to the bit; the source model is trained anew."""
    from stvm.source_model.location import source_path
    from stvm.trial.run import run_trial

    source_path(settings, cache).unlink(missing_ok=True)
    outcome = run_trial(settings, cache, device)
    return json.dumps(outcome.result, sort_keys=True), bits(outcome.network.state_dict())


def bits(state: Any) -> bytes:
    """All tensors of a nested state."""
    tensors = [leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor)]
    return b"".join(
        t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() for t in tensors
    )


def full_size(network: str, device: torch.device, toy: bool) -> Row:
    """Whether three steps end alike, and what they take over steps that need not repeat."""
    states: list[bytes] = []
    took: dict[bool, float] = {}
    for strict in (True, True, False):
        settings = settings_of(network, toy, deterministic=strict)
        images = batches(settings, 3, device)
        with computing(settings.compute, device):
            settings, source = source_of(settings, images[0])
            adaptation = adaptation_of(settings, source)
            (times,) = in_turns([adaptation], images, 1)
            if strict:
                states.append(bits([adaptation.state_dict()]))
        took[strict] = statistics.median(times)
        del adaptation, source
        free(device)
    return {
        "step, ms": 1e3 * took[True],
        "over a step that need not repeat": took[True] / took[False],
        "passed": states[0] == states[1],
    }


def trial(device: torch.device, toy: bool) -> Iterator[Row]:
    """A trial of the embedded benchmark in this process, with its source model."""
    from stvm.source_model.ensure import ensure_source
    from stvm.trial.run import run_trial

    settings = find_preset("demo").settings(**(SHORT if not toy else TINY))
    with tempfile.TemporaryDirectory(prefix="stvm-gpu-") as folder:
        began = time.perf_counter()
        ensure_source(settings, Path(folder), device)
        trained = time.perf_counter()
        result = run_trial(settings, Path(folder), device).result
    yield {
        "trial": f"demo, {settings.training.iterations} iterations",
        "source model, s": trained - began,
        "trial, s": time.perf_counter() - trained,
        "mIoU": 100 * result["miou"],
        "collapsed": result["collapsed"],
    }


def through_ray(device: torch.device, toy: bool) -> Iterator[Row]:
    """A row for each trial of a study of as many trials as there are GPUs.

    Raises:
        Skipped: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise Skipped("Ray is not installed")
    from stvm.records.results import Results
    from stvm.settings import digest
    from stvm.study import Study, Trial
    from stvm.tune.options import RunOptions
    from stvm.tune.run_study import execute

    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    base = find_preset("demo").settings(**(TINY if toy else SHORT))
    trials = tuple(
        Trial("STvM", seed, 0, False, base.replace(seed=seed)) for seed in range(max(gpus, 1))
    )
    study = Study("gpu", 0, "demo", digest(base.flat()), "GPUs", "none", "streets", trials)
    with tempfile.TemporaryDirectory(prefix="stvm-gpu-") as folder:
        results = Results(Path(folder) / "results")
        machine = RunOptions(None, float(bool(gpus)), None, Path(folder) / "cache")
        told = execute(study, results, machine).errors
        records = [(one, results.read(one.hash)) for one in trials]
    expected = torch.cuda.get_device_name(0) if gpus else "cpu"
    for one, record in records:
        if record is None:
            yield {"seed": one.seed, "error": "; ".join(told)[:300], "passed": False}
            continue
        ran = record.run
        yield {
            "seed": one.seed,
            "device": ran["device"],
            "started": ran["started"],
            "seconds": ran["seconds"],
            "mIoU": 100 * (record.miou or 0.0),
            "passed": ran["device"] == expected,
        }
