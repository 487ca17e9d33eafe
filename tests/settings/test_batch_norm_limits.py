"""DeepLabV3's batch norm on a single image: settings refuse it, and no advice leads to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from studies import scenarios
from studies.__main__ import main
from stvm.errors import StvmError
from stvm.memory import memory_report
from stvm.memory.estimate import Phase, phases
from stvm.networks import build_network
from stvm.settings import PEERS, Settings
from stvm.settings.presets import PRESETS
from stvm.trial.inputs import check_inputs
from tests.helpers.tiny_settings import tiny

V3 = "deeplabv3_resnet50"
OFF = dict.fromkeys(("st", "aug", "mt", "mgs", "mocm"), False)
PLAIN = {"mgs": False, "mocm": False}
CHECKPOINT = {"network": V3, "source_checkpoint": "x.pth"}


def test_one_image_a_batch_is_what_the_network_cannot_take() -> None:
    """torch itself refuses one image, and accepts two images of the smallest crop."""
    network = build_network(V3, 0, 3).train()
    features = torch.rand(2, 2048, 2, 2)
    assert network.classifier(features).shape[0] == 2
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.classifier(features[:1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"batch": 1}, "batch=1: deeplabv3_resnet50"),
        ({"batch": 1, "student_bn": "frozen"}, "batch=1"),
        ({"batch": 1, "student_bn": "statistics", **PLAIN}, "batch=1"),
        ({"batch": 1, "student_bn": "frozen", "teacher_bn": "track", **PLAIN}, "batch=1"),
        ({"batch": 1, "student_bn": "frozen", "labeller_bn": "batch", **PLAIN}, "batch=1"),
        ({"source_batch": 1, "source_checkpoint": ""}, "source_batch=1: deeplabv3_resnet50"),
        ({"source_batch": 1, "procedure": "oracle", **OFF}, "source_batch=1"),
        ({"target_images": 1, "procedure": "adabn", **OFF}, "target_images=1"),
        ({"target_images": 1, "start_bn": 0.5}, "target_images=1"),
        ({"batch": 1, "student_bn": "share", "start_bn": 0.5, **PLAIN}, "batch=1"),
        ({"procedure": "urma", "batch": 1}, "batch=1"),
        ({"procedure": "urma", "batch": 1, "student_bn": "frozen"}, "batch=1"),
        ({"procedure": "urma", "batch": 4, "accumulate": 4, "student_bn": "frozen"}, "accumulate"),
        ({"procedure": "hcl", "batch": 1}, "batch=1"),
        ({"procedure": "hcl", "batch": 1, "student_bn": "frozen"}, "batch=1"),
    ],
)
def test_a_single_image_is_refused_in_the_settings(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(StvmError) as caught:
        tiny().replace(**CHECKPOINT | changes)
    assert str(caught.value).startswith(named) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 2},
        {"batch": 1, **OFF},
        {"batch": 1, "student_bn": "frozen", **PLAIN},
        {"source_batch": 1},
        {"batch": 1, "network": "small_deeplab"},
        {"procedure": "urma", "batch": 4, "accumulate": 2, "student_bn": "frozen"},
        {"procedure": "cbst", "batch": 1},
        {"procedure": "cbst", "batch": 2, "accumulate": 2},
        {"procedure": "urma", "batch": 1, "student_bn": "frozen", "network": "small_deeplab"},
        {"batch": 1, "source_batch": 1, "network": "deeplabv2_resnet101"},
    ],
)
def test_what_works_with_one_image_is_not_refused(changes: dict[str, Any]) -> None:
    tiny().replace(**CHECKPOINT | changes)


def test_the_reason_names_the_networks_of_an_objective_and_what_to_set() -> None:
    urma = {"procedure": "urma", "student_bn": "frozen", "batch": 4, "accumulate": 4}
    with pytest.raises(StvmError, match=r"\(the auxiliary decoders of procedure=urma too") as said:
        tiny().replace(**CHECKPOINT | urma)
    assert "set accumulate=2; if memory is short" in str(said.value)
    with pytest.raises(StvmError, match="historical network of procedure=hcl too.*set batch=2"):
        tiny().replace(**CHECKPOINT, procedure="hcl", student_bn="frozen", batch=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "procedure",
    [n if n in ("cbst", "urma", "hcl") else pytest.param(n, marks=pytest.mark.long) for n in PEERS],
)
@pytest.mark.parametrize("parted", [{"batch": 1}, {"batch": 2, "accumulate": 2}])
def test_no_objective_meets_the_error_of_torch(procedure: str, parted: dict[str, int]) -> None:
    """Steps on fake tensors, with batch norm as frozen as the objective allows."""
    bn = {"student_bn": "frozen"} if "student_bn" in PEERS[procedure].uses else {}
    try:
        settings = tiny().replace(**CHECKPOINT, procedure=procedure, **parted, **bn)
    except StvmError as refused:
        assert "\n" not in str(refused)
        return
    assert phases(settings)


def test_study_and_memory_say_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--network", "deeplabv3", "batch=1", "--results", str(tmp_path)]
    assert scenarios.main(given) == 2
    assert main(["memory", "--preset", "gta5-cityscapes-deeplabv3", "batch=1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: batch=1: deeplabv3") for line in lines)


def make_folder(root: Path, split: str, count: int) -> None:
    """Images of one colour with labels of both classes."""
    ids = np.zeros((64, 128), np.uint8)
    ids[:32] = 1
    for name, pixels in (("images", np.stack([ids] * 3, -1) * 90), ("labels", ids)):
        (root / split / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels).save(root / split / name / f"{number}.png")


def test_a_target_of_one_image_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    make_folder(source, "train", 2)
    make_folder(target, "train", 1)
    make_folder(target, "test", 2)
    changes = {"dataset": "folder", "source_root": str(source), "target_root": str(target)}
    changes |= {"classes": "a,b", "procedure": "adabn", **OFF}
    with pytest.raises(StvmError, match="one training image, and AdaBN of deeplabv3_resnet50"):
        check_inputs([tiny(network=V3, **changes)])
    check_inputs([tiny(**changes)])
    changes = {k: v for k, v in changes.items() if k not in (*OFF, "procedure")}
    with pytest.raises(StvmError, match="one training image, and start_bn=0.5 of deeplabv3"):
        check_inputs([tiny(network=V3, start_bn=0.5, **changes)])
    check_inputs([tiny(start_bn=0.5, **changes)])


def advice(settings: Settings, phase: str) -> str:
    return memory_report.advice(settings, Phase(phase, {}))


def test_the_advice_for_memory_is_never_a_batch_of_one() -> None:
    """The numbers of the advice are set, and must be allowed."""
    paper = PRESETS["gta5-cityscapes-deeplabv3"].settings()
    for phase in ("adaptation", "source training", "oracle training"):
        told = advice(paper, phase)
        assert "precision=bfloat16" in told and "crop_height" in told and "batch" not in told
        assert ("source_crop_height" in told) == (phase == "source training")
        four = advice(paper.replace(batch=4, source_batch=4), phase)
        assert "batch of 2 or more" in four
    two = advice(PRESETS["gta5-cityscapes-deeplabv2"].settings(), "adaptation")
    assert two.endswith("a smaller batch")
    assert "batch" not in advice(tiny(batch=1), "adaptation")
