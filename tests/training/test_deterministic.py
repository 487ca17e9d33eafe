"""Nothing that a trial does in deterministic mode is refused by a GPU, from source model to record.

The CPU refuses here what a GPU does (`tests/helpers/refused_on_gpu.py`), by torch's own list. What
such an emulation cannot show, that the GPU's kernels repeat to the bit, `make gpu` does.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from studies.ablation import BASELINES, VARIANTS
from stvm.networks import Architecture, SegmentationNetwork, small_features
from stvm.trial.run import run_trial
from tests.helpers.refused_on_gpu import REFUSED, refusing
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
ROWS = BASELINES | VARIANTS
LEAST: dict[str, Any] = {
    "height": 32,
    "width": 64,
    "iterations": 2,
    "source_iterations": 2,
    "target_images": 4,
    "eval_images": 2,
    "source_images": 4,
    "multi_scale": True,
    "source_augment": 0.5,
    "source_balance": 0.5,
    "deterministic": True,
}


def deeplabv3_like(architecture: Architecture) -> SegmentationNetwork:
    """Small features under DeepLabV3's head, which pools whole images and drops features."""
    make = partial(DeepLabHead, architecture.channels)
    features = small_features(architecture.channels)
    return SegmentationNetwork(architecture, features, make(architecture.num_classes), make)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["deeplabv2", "deeplabv3"])
def test_a_gpu_refuses_nothing_of_any_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    """Source model, adaptation, AdaBN, oracle; evaluation, AUROC, scores, silhouette, watch."""
    if head == "deeplabv3":
        monkeypatch.setattr("stvm.networks.build.small", deeplabv3_like)
    chosen = ROWS if head == "deeplabv2" else {n: ROWS[n] for n in ("Oracle", "STvM")}
    for row, toggles in chosen.items():
        with refusing() as mode:
            result = run_trial(tiny(**LEAST | toggles), tmp_path, CPU).result
        assert {"index_put", "_unsafe_index"} & mode.passed or row in ("Source", "AdaBN"), row
        assert (result.get("silhouette") is not None) == (row in ("STvM", "STvM_Raw")), row
        assert {"bincount", "argmax"} <= mode.passed, row


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher_bn": "track", "labeller_bn": "batch", "metric_balance": "repeat"},
        {"network": "espnetv2", "network_width": 0.5, "height": 64, "iterations": 1},
        {"patch_unit": "component", "loss_norm": "weights", "pseudo_label_share": 0.5},
        {"mgs": False, "mocm": False, "metric_alongside": True, "pseudo_label_by": "image"},
        {"mt": False, "labeller": "student", "student_bn": "statistics", "evaluated": "teacher"},
        {
            "precision": "bfloat16",
            "patch_image": "augmented",
            "accumulate": 2,
            "source_accumulate": 2,
        },
    ],
    ids=["track", "espnetv2", "component", "alongside", "student", "bfloat16"],
)
def test_a_gpu_refuses_nothing_of_other_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    with refusing() as mode:
        run_trial(tiny(**LEAST | changes), tmp_path, CPU)
    assert "bincount" in mode.passed


def test_the_list_is_torchs_own() -> None:
    told = torch.use_deterministic_algorithms.__doc__ or ""
    throwing = told.split("operations will throw a\n")[-1].split("In addition, several operations")[
        0
    ]
    names = re.findall(r"^ *\* :\w+:`(?:torch\.)?([\w.]+)`", throwing, re.MULTILINE)
    assert len(names) > 20
    assert {name.split(".")[-1] for name in names} <= set(REFUSED)


@pytest.mark.parametrize(
    "name", ["weighted bincount", "bilinear gradient", "mean of a map's losses", "pooled gradient"]
)
def test_what_a_gpu_refuses_is_refused_here(name: str) -> None:
    maps, labels = torch.rand(1, 3, 8, 8, requires_grad=True), torch.zeros(1, 8, 8).long()

    def enlarged() -> Tensor:
        # Not by `interpolate`, which on a GPU goes another way by itself.
        return torch._C._nn.upsample_bilinear2d(maps, [16, 16], False, None).sum()

    operations = {
        "weighted bincount": lambda: torch.bincount(
            labels.flatten(), maps.detach()[0, 0].flatten()
        ),
        "bilinear gradient": lambda: enlarged().backward(),
        "mean of a map's losses": lambda: F.cross_entropy(maps, labels),
        "pooled gradient": lambda: F.adaptive_avg_pool2d(maps, 2).sum().backward(),
    }
    with refusing():
        operations[name]()
        torch.use_deterministic_algorithms(True)
        try:
            with pytest.raises(RuntimeError, match="does not have a deterministic"):
                operations[name]()
            torch.bincount(labels.flatten())
            F.cross_entropy(maps, labels, reduction="none").sum().backward()
            F.adaptive_avg_pool2d(maps, 1).sum().backward()
            F.interpolate(maps, (16, 16), mode="bilinear", align_corners=True).sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)
