"""Checkpoints that do not fit are refused by name, in one line that says what to do."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.networks import Architecture, ResNetSize, assemble, build_network
from stvm.pretrained import open_backbone, open_checkpoint, save_network
from stvm.pretrained.aspp_branches import detect_active_branches, is_untrained
from stvm.settings import Settings
from stvm.source_model.loading import new_network, open_source_model
from tests.helpers import public_checkpoints as public
from tests.helpers.public_checkpoints import State, aspp, backbone, under, without

SIZE = ResNetSize(public.BLOCKS, public.WIDTH)


def good(trained: int = 2, classes: int = 13) -> State:
    second = aspp("layer5.conv2d_list.", classes, trained, inputs=128, seed=2)
    return backbone() | second | aspp("layer6.conv2d_list.", classes, trained)


def single(trained: int = 4) -> State:
    return backbone() | aspp("layer5.conv2d_list.", 13, trained)


def poisoned() -> State:
    state = good()
    state["layer2.1.conv2.weight"][0, 0, 0, 0] = float("nan")
    return state


def odd() -> State:
    """The third branch was trained, the fourth was not."""
    return good() | aspp("layer6.conv2d_list.", 13, 3)


def one_by_one() -> State:
    state = good()
    state["layer6.conv2d_list.0.weight"] = torch.ones(13, 256, 1, 1)
    return state


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("evil-was-here", "w"))


MULTI = "DeepLabV2 has 4 or 2"
BROKEN: dict[str, tuple[Any, str, tuple[str, str]]] = {
    "rates unknown": (good() | aspp("layer6.conv2d_list.", 13, 3, stored=6), MULTI, ("auto",) * 2),
    "three branches": (
        *(without(good(), "layer6.conv2d_list.3."), "adds 3 convolutions, whose rates"),
        ("auto", "auto"),
    ),
    "no 3x3": (one_by_one(), r"no sum of 3x3 convolutions \(\(13, 256, 1, 1\)\)", ("auto",) * 2),
    "contradictory branches": (odd(), "set aspp_branches=two .* or four", ("auto", "auto")),
    "branches against the family": (
        good(4),
        r"maxsquare adds two .* weights say that four .* another family \(advent\), or set aspp",
        ("maxsquare", "auto"),
    ),
    "untrained": (good(0), "set aspp_branches=two", ("auto", "auto")),
    "two for four": (
        under("model.backbone.", backbone(deep=True))
        | aspp("model.decode_head.aspp_modules.", 13, 2, ".conv", stored=2),
        *("leave out aspp_branches=four", ("auto", "four")),
    ),
    "which input": (single(), "may be of adaptsegnet or crst or dacs or dasac: .*normalised", ()),
    "a family of two": (single(), "it lacks layer6.conv2d_list.N and has", ("advent",)),
    "another family": (good(), "none of checkpoint_family=crst: it lacks layer5.*N", ("crst",)),
    "no head": (under("module.", backbone()), "no classifier .*source_init", ()),
    "missing backbone keys": (
        without(good(), "layer3.1."),
        r"15 missing \(layer3.1.bn1.bias, layer3.1.bn1.running_mean, .*\)",
        (),
    ),
    "extra keys": (
        under("module.", good()) | {"module.extra": torch.ones(1), "stray": torch.ones(1)},
        r"1 unexpected \(module.extra\); unexpected \(stray\)",
        (),
    ),
    "reshaped": (
        good() | {"layer1.0.conv1.weight": torch.ones(8, 8, 2, 2)},
        r"1 of another shape \(layer1.0.conv1.weight \(8, 8, 2, 2\) for \(8, 8, 1, 1\)\)",
        (),
    ),
    "not a state dict": ({"layer6.conv2d_list.0.weight": [1, 2]}, "is not a state dict", ()),
    "empty dictionary": ({}, "is not a state dict", ()),
    "deep stem": (
        without(good(), "conv1.", "bn1.") | without(backbone(deep=True), "layer"),
        r"deep stem \(stem.0.weight\) where adaptsegnet has a plain stem",
        (),
    ),
    "plain stem": (
        under("backbone.", backbone()) | aspp("decode_head.aspp_modules.", 13, 4, ".conv"),
        "plain stem .* where mmseg has a deep stem",
        (),
    ),
    "not finite": (poisoned(), "layer2.1.conv2.weight holds values that are not finite", ()),
    "two networks": (
        under("a.", good()) | under("b.", good()),
        "holds 2 networks, whose keys begin with 'a.', 'b.'",
        (),
    ),
    "an initialisation": (under("Scale.", single()), "it is no source model.*source_init", ()),
    "torchvision without its classifier": (
        under("backbone.", backbone()) | {"classifier.0.convs.0.0.weight": torch.ones(1)},
        "lacks classifier.4.weight",
        (),
    ),
    "split of nobody": (
        under("backbone.", backbone(counted=False)) | aspp("classifier.conv2d_list.", 13, 4),
        "may be of fada or tllib",
        (),
    ),
}


def refused(act: Callable[[], object], path: Path, message: str) -> None:
    with pytest.raises(StvmError) as caught:
        act()
    said = str(caught.value)
    assert re.search(message, said), said
    assert str(path) in said and "\n" not in said


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message, asked = BROKEN[name]
    path = tmp_path / "file.pth"
    torch.save(content, path)
    refused(lambda: open_checkpoint(path, *asked, size=SIZE).build(), path, message)


def test_files_that_cannot_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.pth"
    refused(lambda: open_checkpoint(path), path, "no checkpoint .*existing file")
    refused(lambda: open_checkpoint(tmp_path), tmp_path, "is a folder: name a file in it")
    path.write_bytes(b"")
    refused(lambda: open_checkpoint(path), path, "is empty: download or copy it again")
    torch.save(good(), path)
    refused(lambda: open_checkpoint(tmp_path), tmp_path, "is a folder: .* as in .*file.pth")
    path.write_bytes(path.read_bytes()[:-2000])
    refused(lambda: open_checkpoint(path), path, "damaged or cut off .*: download or copy it again")
    torch.save(good() | {"w": Evil()}, path)
    refused(lambda: open_checkpoint(path), path, "code in it was not run")
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    refused(lambda: open_checkpoint(path), path, "code in it was not run")
    assert not (tmp_path / "evil-was-here").exists()
    network = build_network("small_deeplab", 8, 3)
    save_network(network, tmp_path / "own.safetensors", ("a", "b", "c"))
    path.write_bytes((tmp_path / "own.safetensors").read_bytes()[:-100])
    refused(lambda: open_checkpoint(path), path, "cannot read checkpoint")


def test_a_checkpoint_must_be_of_the_network_and_classes_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(good(), path)

    def opened(**changes: Any) -> Callable[[], object]:
        settings = Settings().replace(**{"network": "deeplabv2_resnet101"} | changes)
        return lambda: open_source_model(settings, path)

    refused(opened(), path, r"13 classes, and the data have 19 \(road, sidewalk, building")
    refused(opened(network="deeplabv3_resnet50"), path, "--network deeplabv2 of studies/scen")
    torch.save(backbone() | aspp("layer6.conv2d_list.", 19, 4), path)
    refused(opened(auxiliary=True), path, "no auxiliary classifier on layer 3")
    described = Architecture("deeplabv2_resnet101", 256, 19, aspp_branches="two")
    network = assemble(described, SIZE)
    names = [f"class {i}" for i in range(19)]
    save_network(network, path, tuple(names))
    refused(opened(), path, "class 0 is 'class 0' in the file and 'road' in the data")
    refused(opened(aspp_branches="four"), path, "trained with aspp_branches=two: leave out")
    save_network(network, path, tuple(names), backbone="vgg16")
    refused(opened(), path, "described by 'vgg16', which is nothing known here")


def test_initialisations_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "init.pth"
    torch.save(backbone(), path)
    refused(lambda: open_backbone(path), path, "may be of Caffe or of torchvision")
    torch.save(backbone() | {"fc.weight": torch.ones(9, 256)}, path)
    start = open_backbone(path)
    wider = assemble(
        Architecture("deeplabv2_resnet101", 0, 3, backbone="torchvision"), ResNetSize((1, 1, 1, 1))
    )
    refused(lambda: start.load(wider), path, "does not fit the backbone .*unexpected .layer2.1")
    small = Settings().replace(source_init=str(path))
    refused(lambda: new_network(small), path, "small_deeplab has no public weights")
    torch.save({"features.0.weight": torch.ones(1)}, path)
    refused(lambda: open_backbone(path), path, "holds no ResNet or ESPNetv2 but a VGG")
    torch.save(build_network("small_deeplab", 8, 3).state_dict(), path)
    refused(lambda: open_backbone(path), path, "holds no ResNet or ESPNetv2: use")


def test_evidence_of_branches_is_statistical() -> None:
    draw = torch.Generator().manual_seed(0)
    drawn = [0.01 * torch.randn(19, 256, 3, 3, generator=draw) for _ in range(200)]
    assert all(is_untrained(weight) for weight in drawn)
    assert not is_untrained(drawn[0] * 1.03) and not is_untrained(drawn[0] + 0.0005)
    uniform = (torch.rand(19, 256, 3, 3, generator=draw) - 0.5) * 0.01 * 12**0.5
    assert not is_untrained(uniform)
    assert detect_active_branches([uniform, uniform, *drawn[:2]]) == "two"
    assert (
        detect_active_branches([uniform] * 4) == "four"
        and detect_active_branches(drawn[:4]) == "none"
    )
    assert detect_active_branches([*drawn[:2], uniform, uniform]) == "contradictory"


def test_the_commands_say_what_a_file_is_and_export_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "own.safetensors", tmp_path / "plain.pth"
    network = build_network("small_deeplab", 8, 3)
    save_network(network, path, ("a", "b", "c"))
    assert main(["checkpoint", str(path)]) == 0
    said = capsys.readouterr().out
    assert "stvm (this project); small_deeplab; 3 classes" in said and "all keys fit" in said
    assert re.search(r"\nsha256 [0-9a-f]{64}\n", said)
    assert main(["export-model", str(path), "--out", str(out)]) == 0
    state = torch.load(out, weights_only=True)
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    assert main(["export-model", str(path), "--out", str(out)]) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    results = ["--results", str(tmp_path), "--out", str(out)]
    assert main(["export-model", "0123456789ab", *results]) == 2
    told = capsys.readouterr().err
    assert f"no file 0123456789ab, and {tmp_path} is no results folder" in told
    (tmp_path / "records").mkdir()
    assert main(["export-model", "0123456789ab", *results]) == 2
    assert "no file 0123456789ab, and no record of trial" in capsys.readouterr().err
    torch.save(single(), path)
    assert main(["checkpoint", str(path)]) == 2
    assert "set checkpoint_family" in capsys.readouterr().err
    assert main(["checkpoint", str(path), "--preset", "demo"]) == 2
    capsys.readouterr()
