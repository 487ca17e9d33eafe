"""Every public family, synthesised with its documented names, loads and gives its logits."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import Architecture, ResNetSize, assemble, upsample
from stvm.pretrained import (
    export_family,
    open_backbone,
    open_checkpoint,
    public_checkpoint,
    save_network,
)
from stvm.settings import Settings
from stvm.source_model.loading import load_source, open_source_model, source_facts
from stvm.trial.inputs import check_inputs
from tests.helpers import public_checkpoints as public
from tests.helpers.public_checkpoints import State, aspp, backbone, under

SIZE = ResNetSize(public.BLOCKS, public.WIDTH)
TWO, FOUR = (6, 12), (6, 12, 18, 24)
CLASSES = 13


@dataclass(frozen=True)
class Case:
    """A file as a family writes it, and what must be made of it.

    Attributes:
        content: of the file.
        plain: the weights that count, without wrappers.
        head: prefix of the classifier in `plain`.
        rates: that count.
        form: of the backbone.
        pixels: its input.
        inside: prefix of the backbone in `plain`.
        infix: in the classifier's names.
        asked: settings that the file needs.
    """

    content: Any
    plain: State
    head: str
    rates: tuple[int, ...]
    form: public.Form = public.CAFFE
    pixels: Callable[[Tensor], Tensor] = public.caffe_input
    inside: str = ""
    infix: str = ""
    asked: tuple[str, str] = ("auto", "auto")


def single(trained: int) -> State:
    return backbone() | aspp("layer5.conv2d_list.", CLASSES, trained)


def multi(trained: int, counted: bool = True) -> State:
    second = aspp("layer5.conv2d_list.", CLASSES, trained, inputs=128, seed=2)
    return backbone(counted=counted) | second | aspp("layer6.conv2d_list.", CLASSES, trained)


def maxsquare() -> Case:
    plain = multi(2)
    content = {"epoch": 3, "iteration": 9, "state_dict": under("module.", plain)}
    content |= {"best_MIou": np.float64(0.36), "optimizer": {"state": {}, "param_groups": [{}]}}
    return Case(content, plain, "layer6.conv2d_list.", TWO)


def fada(counted: bool) -> Case:
    body, head = backbone(counted=counted), aspp("conv2d_list.", CLASSES, 4)
    content: dict[str, Any] = {"iteration": 20000, "optimizer_fea": {"state": {}}}
    content |= {"feature_extractor": under("module.backbone.", body)}
    content |= {"classifier": under("module.", head)}
    plain = under("backbone.", body) | under("classifier.", head)
    form = public.TORCHVISION if counted else public.FROZEN
    return Case(
        content, plain, "classifier.conv2d_list.", FOUR, form, public.rgb_input, "backbone."
    )


def mmseg(stored: int) -> Case:
    plain = under("backbone.", backbone(deep=True))
    plain |= aspp("decode_head.aspp_modules.", CLASSES, stored, ".conv", stored=stored)
    teacher = {k: v + 1 if v.is_floating_point() else v for k, v in plain.items()}
    state = under("model.", plain) | under("ema_model.", teacher) | under("imnet_model.", teacher)
    return Case(
        {"meta": {"epoch": 1, "config": "model = dict()"}, "state_dict": state},
        plain,
        "decode_head.aspp_modules.",
        FOUR[:stored],
        public.V1C,
        public.rgb_input,
        "backbone.",
        ".conv",
    )


def dasac() -> Case:
    plain = single(4)
    teacher = {k: v + 1 if v.is_floating_point() else v for k, v in plain.items()}
    state = under("module.backbone.model.", plain) | under("module.slow_net.model.", teacher)
    state |= {"module.running_conf": torch.zeros(CLASSES), "module.slow_init": torch.zeros(1)}
    content = {"model": state, "opt": {}, "score": 0.4, "epoch": 40}
    return Case(content, plain, "layer5.conv2d_list.", FOUR, pixels=public.rgb_input)


def tllib() -> Case:
    plain = under("backbone.", backbone()) | aspp("classifier.conv2d_list.", CLASSES, 4)
    return Case({"model": plain}, plain, "classifier.conv2d_list.", FOUR, inside="backbone.")


def main_only() -> Case:
    plain = backbone() | aspp("layer6.conv2d_list.", CLASSES, 4)
    return Case(plain, plain, "layer6.conv2d_list.", FOUR)


def flat(plain: State, rates: tuple[int, ...], **more: Any) -> Case:
    head = "layer6." if any(k.startswith("layer6.") for k in plain) else "layer5."
    return Case(plain, plain, f"{head}conv2d_list.", rates, **more)


CASES: dict[str, tuple[str, Case]] = {
    "old torch": ("adaptsegnet", flat(multi(2, counted=False), TWO)),
    "adaptsegnet single": ("adaptsegnet", flat(single(2), TWO, asked=("adaptsegnet", "auto"))),
    "maxsquare": ("maxsquare", maxsquare()),
    "advent": ("advent", flat(multi(4), FOUR)),
    "hcl": ("advent", Case(under("module.", multi(4)), multi(4), "layer6.conv2d_list.", FOUR)),
    "advent single": ("advent", main_only()),
    "crst": ("crst", flat(single(4), FOUR, pixels=public.bgr_input, asked=("crst", "auto"))),
    "dacs": (
        "dacs",
        Case({"model": single(2), "ema_model": single(2)}, single(2), "layer5.conv2d_list.", TWO),
    ),
    "crots": (
        "dacs",
        Case(
            {"state_dict": under("net.", single(2)), "pytorch-lightning_version": "1.5"},
            single(2),
            "layer5.conv2d_list.",
            TWO,
        ),
    ),
    "fada": ("fada", fada(True)),
    "fada frozen": ("fada", fada(False)),
    "dasac": ("dasac", dasac()),
    "tllib": ("tllib", tllib()),
    "mmseg": ("mmseg", mmseg(4)),
    "mmseg red": ("mmseg", mmseg(2)),
}


def expected(case: Case, images: Tensor) -> Tensor:
    """Logits by the twin, from the documented names."""
    found = public.features(case.plain, case.pixels(images), case.form, case.inside)[1]
    return public.slow_aspp(case.plain, found, case.head, case.rates, case.infix)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(1, 3, 49, 65, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", CASES)
def test_a_family_loads_and_gives_its_logits(name: str, images: Tensor, tmp_path: Path) -> None:
    family, case = CASES[name]
    torch.save(case.content, tmp_path / "file.pth")
    checkpoint = open_checkpoint(tmp_path / "file.pth", *case.asked, size=SIZE)
    network = checkpoint.build()
    with torch.no_grad():
        logits = network.logits(images)
    torch.testing.assert_close(logits, expected(case, images).float(), rtol=1e-3, atol=1e-3)
    described = network.architecture
    assert checkpoint.family == family and described.num_classes == CLASSES
    assert described.aspp_branches == ("two" if case.rates == TWO else "four")
    assert described.auxiliary == ("layer5.conv2d_list.0.weight" in case.plain and "6" in case.head)
    line = checkpoint.line()
    assert "\n" not in line and line.startswith(family) and f"{CLASSES} classes" in line
    assert ("rates 6 and 12;" in line) == (case.rates == TWO)
    again = tmp_path / "again.pth"
    torch.save(public_checkpoint(network, family), again)
    back = open_checkpoint(again, family, described.aspp_branches, size=SIZE).build()
    own, theirs = network.state_dict(), back.state_dict()
    assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "auxiliary"),
    [
        ("lraspp_mobilenet_v3_large", False),
        ("deeplabv3_mobilenet_v3_large", True),
        pytest.param("fcn_resnet50", True, marks=pytest.mark.long),
    ],
)
def test_torchvisions_other_networks_load_and_are_exported(
    name: str, auxiliary: bool, tmp_path: Path
) -> None:
    from torchvision.models import segmentation

    torch.manual_seed(0)
    more = {"aux_loss": True} if auxiliary else {}
    theirs = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=13, **more
    ).eval()
    state = {f"module.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"model": state}, tmp_path / "file.pth")
    checkpoint = open_checkpoint(tmp_path / "file.pth")
    network = checkpoint.build()
    described = network.architecture
    assert (described.network, described.auxiliary, described.num_classes) == (name, auxiliary, 13)
    images = torch.rand(1, 3, 33, 40)
    with torch.no_grad():
        found = theirs(public.rgb_input(images).float())["out"]
        torch.testing.assert_close(network(images), found, rtol=1e-3, atol=1e-4)
    assert export_family(network, checkpoint.family) == "torchvision"
    exported = public_checkpoint(network, "torchvision")
    theirs.load_state_dict(exported)
    assert exported.keys() == theirs.state_dict().keys()
    missing = min(key for key in state if "running_mean" in key)
    torch.save({key: value for key, value in state.items() if key != missing}, tmp_path / "b.pth")
    with pytest.raises(StvmError, match=f"does not fit {name}.*: keys 1 missing"):
        open_checkpoint(tmp_path / "b.pth").build()


@pytest.mark.slow
@pytest.mark.parametrize("auxiliary", [False, pytest.param(True, marks=pytest.mark.long)])
def test_torchvisions_deeplabv3_loads(auxiliary: bool, tmp_path: Path) -> None:
    from torchvision.models.segmentation import deeplabv3_resnet50

    torch.manual_seed(0)
    theirs = deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=13, aux_loss=auxiliary or None
    ).eval()
    torch.save(theirs.state_dict(), tmp_path / "file.pth")
    checkpoint = open_checkpoint(tmp_path / "file.pth")
    network = checkpoint.build()
    images = torch.rand(1, 3, 33, 40)
    with torch.no_grad():
        found = theirs(public.rgb_input(images).float())
        torch.testing.assert_close(network(images), found["out"], rtol=1e-3, atol=1e-4)
        if auxiliary:
            second = upsample(network.both_logits(images)[1], (33, 40))
            torch.testing.assert_close(second, found["aux"], rtol=1e-3, atol=1e-4)
    assert checkpoint.family == "torchvision" and network.architecture.auxiliary == auxiliary
    exported = public_checkpoint(network, "torchvision")
    theirs.load_state_dict(exported)
    assert exported.keys() == theirs.state_dict().keys()


def test_what_a_setting_says_wins_over_what_is_detected(tmp_path: Path, images: Tensor) -> None:
    path = tmp_path / "file.pth"
    torch.save(multi(4), path)
    checkpoint = open_checkpoint(path, "maxsquare", "two", size=SIZE)
    assert checkpoint.family == "maxsquare" and "the weights say four" in checkpoint.line()
    with torch.no_grad():
        logits = checkpoint.build().logits(images)
    twin = expected(flat(multi(4), TWO), images)
    torch.testing.assert_close(logits, twin.float(), rtol=1e-3, atol=1e-3)


def test_a_classifier_on_layer_3_that_was_never_trained_is_noticed(tmp_path: Path) -> None:
    second = aspp("layer5.conv2d_list.", CLASSES, 0, inputs=128, seed=2)
    state = backbone() | second | aspp("layer6.conv2d_list.", CLASSES, 2)
    torch.save(state, tmp_path / "file.pth")
    checkpoint = open_checkpoint(tmp_path / "file.pth", size=SIZE)
    assert "the auxiliary classifier was never trained" in checkpoint.line()
    assert checkpoint.architecture and checkpoint.architecture.aspp_branches == "two"


def test_our_own_files_say_what_they_are(tmp_path: Path, images: Tensor) -> None:
    torch.manual_seed(0)
    described = Architecture(
        *("deeplabv2_resnet101", 256, 5, True, "two"), backbone="v1c", normalisation="bgr_imagenet"
    )
    network = assemble(described, SIZE).eval()
    path = tmp_path / "kept.safetensors"
    save_network(network, path, ("a", "b", "c", "d", "e"), "mmseg")
    checkpoint = open_checkpoint(path, size=SIZE)
    assert checkpoint.architecture == described and checkpoint.class_names == tuple("abcde")
    with torch.no_grad():
        torch.testing.assert_close(checkpoint.build()(images), network(images))
    assert source_facts(checkpoint)["origin"] == "mmseg"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.safetensors"]


def scale(state: State) -> State:
    return under("Scale.", state | aspp("layer5.conv2d_list.", 21, 4))


@pytest.mark.parametrize(
    ("content", "form", "normalisation"),
    [
        (scale(backbone()), "caffe", "bgr_caffe"),
        (
            backbone(counted=False) | {"fc.weight": torch.ones(9, 256), "fc.bias": torch.ones(9)},
            *("torchvision", "rgb_imagenet"),
        ),
        ({"state_dict": backbone(deep=True)}, "v1c", "rgb_imagenet"),
        (fada(True).content, "torchvision", "rgb_imagenet"),
        (multi(2), "caffe", "bgr_caffe"),
    ],
)
def test_a_backbone_to_start_from(
    content: Any, form: str, normalisation: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "init.pth")
    start = open_backbone(tmp_path / "init.pth")
    assert (start.form, start.normalisation) == (form, normalisation)
    network = assemble(Architecture("deeplabv2_resnet101", 0, 3, backbone=form), SIZE)
    head = network.classifier.state_dict()["branches.0.weight"].clone()
    start.load(network)
    ours, deep = network.features.state_dict(), form == "v1c"
    for name, value in backbone(deep=deep).items():
        assert name.endswith("tracked") or torch.equal(ours[name], value)
    assert torch.equal(network.classifier.state_dict()["branches.0.weight"], head)


@pytest.mark.slow
def test_a_full_size_checkpoint_starts_a_trial(tmp_path: Path) -> None:
    blocks, width, classes = (3, 4, 23, 3), 64, 19
    plain = backbone(blocks, width)
    plain |= aspp("layer5.conv2d_list.", classes, 2, inputs=1024, seed=2)
    plain |= aspp("layer6.conv2d_list.", classes, 2, inputs=2048)
    path = tmp_path / "GTA2Cityscapes_multi.pth"
    torch.save(plain, path)
    settings = Settings().replace(
        network="deeplabv2_resnet101", source_checkpoint=str(path), source_images=1
    )
    line, assumed = check_inputs([settings, settings])
    assert assumed.startswith("classes: the checkpoint does not name its 19, so they are taken")
    assert line.startswith(f"{path}: adaptsegnet (AdaptSegNet); deeplabv2_resnet101")
    assert "rates 6 and 12; 19 classes; heads layer6, layer5 (auxiliary); input BGR" in line
    network = load_source(settings, path, torch.device("cpu"))
    images = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        logits = network.logits(images)
    found = public.features(plain, public.caffe_input(images), public.CAFFE)[1]
    slow = public.slow_aspp(plain, found, "layer6.conv2d_list.", TWO).float()
    assert float((logits - slow).abs().max()) < 1e-3 * float(slow.abs().max())
    facts = source_facts(open_source_model(settings, path))
    assert len(str(facts.pop("sha256"))) == 64
    assert facts == {
        **{"family": "adaptsegnet", "network": "deeplabv2_resnet101", "classes": 19},
        **{"auxiliary": True, "normalisation": "bgr_caffe", "branches": "two"},
        "backbone": "caffe",
    }


def test_options_of_other_code_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save({"model": single(2), "ema_model": single(2), "score": np.float32(0.5)}, path)
    assert open_checkpoint(path, size=SIZE).family == "dacs"
    torch.save({"model": single(2), "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(Exception, match="holds an object of argparse.Namespace.*was not run"):
        open_checkpoint(path, size=SIZE)
