"""Files that are no checkpoint, and checkpoints of other networks, are named for what they are."""

import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.networks import ResNetSize, build_network
from stvm.pretrained import open_checkpoint
from tests.helpers import public_checkpoints as public
from tests.helpers.public_checkpoints import State, aspp, backbone, under

SIZE = ResNetSize(public.BLOCKS, public.WIDTH)
PAGE = "<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 178\n"


def single(trained: int = 2) -> State:
    return backbone() | aspp("layer6.conv2d_list.", 13, trained)


def said_of(path: Path) -> str:
    """One line that names the file and passes on nothing that would run code."""
    with pytest.raises(StvmError) as caught:
        open_checkpoint(path, size=SIZE).build()
    said = str(caught.value)
    assert str(path) in said and "\n" not in said and "weights_only" not in said, said
    return said


def script(path: Path) -> None:
    torch.jit.script(nn.Conv2d(3, 3, 1)).save(str(path))


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("models/GTA5_multi.pth", b"x")
        made.writestr("models/readme.txt", b"x")


def arrays(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, weight=np.ones(3))


def array(path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.ones(3))


def half(path: Path) -> None:
    torch.save(single(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_legacy(path: Path) -> None:
    torch.save(single(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_header(path: Path) -> None:
    save_file({"w": torch.ones(4)}, path)
    content = path.read_bytes()
    path.write_bytes((2**40).to_bytes(8, "little") + content[8:])


def whole_model(path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(1, 1)), path)


def mmengine(path: Path) -> None:
    torch.save({"state_dict": single(), "message_hub": zipfile.ZipInfo("x")}, path)


def written(content: bytes | str) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda path: path.write_bytes(data)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "web page": (written(PAGE), r'web page \("Google Drive - Quota exceeded"\).*in a browser'),
    "Git LFS": (written(POINTER), "pointer of Git LFS.*git lfs pull"),
    "text": (written("101\n"), r'is text \(it begins with "101"\)'),
    "YAML": (written("model:\n  type: EncoderDecoder\n"), "is text"),
    "cut off": (half, "damaged or cut off .*: download or copy it again"),
    "cut off, before 1.6": (half_legacy, "damaged or cut off; download or copy it again"),
    "TorchScript": (script, "TorchScript archive.*save network.state_dict"),
    "archive": (archive, r"archive of 2 files \(models/GTA5_multi.pth\): unpack it"),
    "npz": (arrays, "holds arrays of numpy"),
    "npy": (array, "is an array of numpy"),
    "gzip": (written(gzip.compress(b"weights")), "compressed by gzip: unpack it"),
    "ONNX": (written(b"\x08\x08\x12\x07pytorch\x1a\x01\xff onnx graph"), "is an ONNX model"),
    "HDF5": (written(b"\x89HDF\r\n\x1a\n\x00\x01\xff"), "HDF5 file, as Keras writes"),
    "image": (written(b"\x89PNG\r\n\x1a\n\xff\xfe"), "is an image"),
    "bytes": (written(bytes(range(250, 200, -1))), "in no format that is read .*fa f9 f8"),
    "safetensors with a wrong header": (wrong_header, "as safetensors .*copy it again"),
    "whole model": (whole_model, r"object of torch.nn.modules.container.Sequential.*was not run"),
    "an object beside the weights": (mmengine, "object of zipfile.ZipInfo.*was not run"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named(name: str, tmp_path: Path) -> None:
    write, message = FILES[name]
    path = tmp_path / "file.pth"
    write(path)
    said = said_of(path)
    assert re.search(message, said), said


def test_a_page_or_pointer_under_the_name_of_safetensors_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    for content, message in ((PAGE, "web page"), (POINTER, "pointer of Git LFS")):
        path.write_text(content)
        assert message in said_of(path)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_long_page_is_known_where_what_is_read_of_it_ends_within_a_letter(
    cut: int, tmp_path: Path
) -> None:
    """The first 4096 bytes are looked at; of a letter of four bytes `cut` are among them."""
    page = PAGE + " " * (4096 - cut - len(PAGE)) + "\U0001f600 and so on"
    path = tmp_path / "weights.pth"
    path.write_text(page, encoding="utf-8")
    assert "web page" in said_of(path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.pth"
    torch.save(single(), path)
    for fault, message in (
        (OSError(116, "Stale file handle"), "cannot read checkpoint .*Stale file handle$"),
        (MemoryError(), "memory is too short"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory is too short"),
    ):

        def load(*_: Any, fault: Exception = fault, **__: Any) -> None:
            raise fault

        monkeypatch.setattr(torch, "load", load)
        assert re.search(message, said_of(path))


MIT = {f"patch_embed{i}.proj.weight": torch.ones(1) for i in (1, 2, 3, 4)}
MIT |= {f"block{i}.0.attn.q.weight": torch.ones(1) for i in (1, 2, 3, 4)}


def keys(*names: str) -> State:
    return {name: torch.ones(1) for name in names}


RESNET = under("backbone.", backbone(deep=True))
VGG = keys("features.0.weight", "features.28.weight", "classifier.0.weight", "classifier.6.weight")
NETWORKS: dict[str, tuple[State, str]] = {
    "MiT": (under("model.backbone.", MIT) | keys("model.decode_head.conv_seg.weight"), "MiT"),
    "DAFormer": (
        under("backbone.", MIT) | keys("decode_head.fuse_layer.bottleneck.conv.weight"),
        "DAFormer's head",
    ),
    "Swin": (keys("layers.0.blocks.0.attn.relative_position_bias_table"), "Swin"),
    "ViT": (keys("blocks.0.attn.qkv.weight"), "vision transformer"),
    "HRNet": (keys("stage2.0.branches.0.0.conv1.weight", "transition1.0.0.weight"), "HRNet"),
    "U-Net": (keys("inc.double_conv.0.weight", "outc.conv.weight"), "U-Net"),
    "VGG": (VGG, "VGG"),
    "unknown": (keys("a.weight", "b.weight"), r"no network known here \(keys a.weight, b.weight"),
    "mmseg FCN": (RESNET | keys("decode_head.convs.0.conv.weight"), "mmsegmentation's FCN"),
    "mmseg PSP": (RESNET | keys("decode_head.psp_modules.0.1.conv.weight"), "PSPNet"),
    "mmseg UPer": (RESNET | keys("decode_head.fpn_convs.0.conv.weight"), "UPerNet"),
    "mmseg SegFormer": (RESNET | keys("decode_head.fusion_conv.conv.weight"), "SegFormer's head"),
    "mmseg DeepLabV3+": (RESNET | keys("decode_head.c1_bottleneck.conv.weight"), r"DeepLabV3\+"),
    "mmseg DeepLabV3": (
        RESNET | keys("decode_head.aspp_modules.0.conv.weight", "decode_head.image_pool.1.bn.bias"),
        "mmsegmentation's DeepLabV3",
    ),
    "smp": (under("encoder.", backbone()) | keys("segmentation_head.0.weight"), "segmentation_mo"),
    "another head": (
        under("net.", backbone()) | keys("net.mine.weight"),
        r"classifier that is not known \(net.mine",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_of_another_network_is_named(name: str, tmp_path: Path) -> None:
    state, message = NETWORKS[name]
    path = tmp_path / "file.pth"
    torch.save({"meta": {}, "state_dict": state}, path)
    said = said_of(path)
    assert re.search(message, said) and "known are DeepLabV2" in said, said
    assert "aspp_branches" not in said and "stvm" not in said.replace(str(path), "")


@pytest.mark.parametrize("preset", [[], ["--preset", "gta5-cityscapes-deeplabv3"]])
def test_the_command_takes_no_unknown_network_for_its_own(
    preset: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mit.pth"
    torch.save(under("model.backbone.", MIT), path)
    assert main(["checkpoint", str(path), *preset]) == 2
    shown = capsys.readouterr()
    assert "transformer" in shown.err and "this project)" not in shown.out


STATE = single()
AVERAGE = {k: v + 1 if v.is_floating_point() else v for k, v in STATE.items()}
MMCV = {f"ema_{name.replace('.', '_')}": v for name, v in AVERAGE.items()}
OPTIMISER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
NESTS: dict[str, Any] = {
    "flat": STATE,
    "net": {"epoch": 3, "net": STATE, "optimizer": OPTIMISER},
    "params": {"params": STATE},
    "model_state_dict": {"model_state_dict": STATE, "optimizer_state_dict": OPTIMISER},
    "two levels": {"state": {"model": STATE}, "epoch": 1},
    "student beside a teacher": {"student": STATE, "teacher": AVERAGE},
    "an average first": {"ema_state_dict": AVERAGE, "state_dict": STATE},
    "an average alone": {"ema": STATE, "optimizer": OPTIMISER},
    "timm": {"state_dict": STATE, "state_dict_ema": AVERAGE, "args": {"lr": 1.0}},
    "list": [STATE, OPTIMISER],
    "tuple": (3, STATE),
    "Lightning": {
        "state_dict": under("model.", STATE),
        "pytorch-lightning_version": "2.0",
        "callbacks": {"x": {"best": torch.ones(1)}},
    },
    "Lightning with a teacher": {"state_dict": under("model.", STATE) | under("teacher.", AVERAGE)},
    "torch.compile": under("_orig_mod.", STATE),
    "torch.compile in DataParallel": under("module._orig_mod.", STATE),
    "AveragedModel": under("module.", STATE) | {"n_averaged": torch.tensor(5)},
    "mmcv's hook": {"meta": {}, "state_dict": under("module.", STATE | MMCV)},
    "discriminators": {"G": STATE, "D1": keys("conv1.weight"), "D2": keys("conv1.weight")},
}


@pytest.mark.parametrize("name", NESTS)
def test_the_network_is_found_wherever_it_lies(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(NESTS[name], path)
    checkpoint = open_checkpoint(path, "advent", "two", size=SIZE)
    built: dict[str, Tensor] = checkpoint.build().state_dict()
    expected = STATE["layer3.0.conv2.weight"]
    assert torch.equal(built["features.layer3.0.conv2.weight"], expected)
    branch = STATE["layer6.conv2d_list.1.weight"]
    assert torch.equal(built["classifier.branches.1.weight"], branch)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    for name, said in (
        ("mmcv's hook", "left out: keys ema_..."),
        ("timm", "left out: state_dict_ema"),
        ("an average alone", "the weights under 'ema', an average: there are no others"),
    ):
        torch.save(NESTS[name], path)
        assert said in open_checkpoint(path, "advent", "two", size=SIZE).line()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": STATE, "b": STATE}, "holds 2 networks, under 'a', 'b': save the one"),
        (OPTIMISER, "not a state dict of a network but of an optimiser"),
        ({"epoch": 1, "optimizer": OPTIMISER}, "no weights in it .epoch, optimizer"),
        (torch.ones(2, 3), r"one tensor of \(2, 3\)"),
        ({"lr": 0.1}, "is not a state dict"),
        ([], "but an empty value of type list"),
        (3, "but a value of type int"),
    ],
)
def test_what_holds_no_network_or_several_is_named(
    content: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.pth"
    torch.save(content, path)
    said = said_of(path)
    assert re.search(message, said), said


@pytest.mark.slow
def test_a_network_of_this_project_is_known_without_a_description(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    for prefix in ("", "module."):
        network = build_network("small_deeplab", 8, 3)
        torch.save(under(prefix, dict(network.state_dict())), path)
        found = open_checkpoint(path, default=network.architecture)
        assert found.family == "stvm"
        assert all(
            torch.equal(found.build().state_dict()[k], v) for k, v in network.state_dict().items()
        )


def test_another_depth_of_the_same_network_is_said(tmp_path: Path) -> None:
    """torchvision's names: a ResNet-101 has 23 blocks in its third layer, a ResNet-50 has 6."""
    from torchvision import models

    from stvm.pretrained.unknown_networks import resnet_of

    with torch.device("meta"):
        for depth in (18, 34, 50, 101, 152):
            keys = getattr(models, f"resnet{depth}")().state_dict()
            assert resnet_of(f"module.{key}" for key in keys) == f"ResNet-{depth}"


def test_a_file_in_memory_is_written_as_the_test_says() -> None:
    """What the legacy writer begins with is what is looked for."""
    content = io.BytesIO()
    torch.save({}, content, _use_new_zipfile_serialization=False)
    from stvm.pretrained.file_kinds import _LEGACY

    assert content.getvalue().startswith(_LEGACY)
