"""ESPNetv2's public files: recognised, loaded, exported, started from, and refused if broken."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.method.mixed_statistics import batch_norms
from stvm.networks import Architecture, assemble, build_network
from stvm.pretrained import open_backbone, open_checkpoint, public_checkpoint, save_network
from stvm.pretrained.onnx_file import _without_adaptive_pooling, export_onnx
from stvm.settings import Settings
from stvm.source_model.loading import new_network, open_source_model
from tests.helpers.espnetv2_files import State, espnetv2_state
from tests.helpers.public_checkpoints import backbone, under, without

CITY, VOC = espnetv2_state(0.5, 20), espnetv2_state(1.0, 21, projection=8)


def settings_of(**changes: Any) -> Settings:
    return Settings().replace(**{"network": "espnetv2", "network_width": 0.5} | changes)


def refused(act: Callable[[], object], path: Path, message: str) -> None:
    with pytest.raises(StvmError) as caught:
        act()
    said = str(caught.value)
    assert re.search(message, said), said
    assert str(path) in said and "\n" not in said


@pytest.mark.parametrize(
    "content",
    [
        CITY,
        under("module.", CITY),
        {"epoch": 3, "state_dict": under("module.", CITY), "optimizer": {"state": {}}},
        {"student": CITY, "teacher": espnetv2_state(0.5, 20, seed=1)},
    ],
)
def test_a_cityscapes_file_loads_and_is_exported_as_it_was(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(content, path)
    checkpoint = open_checkpoint(path)
    described = checkpoint.architecture
    assert described is not None and checkpoint.family == "edgenets"
    assert (described.network, described.num_classes, described.idle_outputs) == ("espnetv2", 19, 1)
    assert (described.width, described.projection) == (0.5, 10)
    assert "edgenets (EdgeNets); espnetv2; width 0.5; 19 classes" in checkpoint.line()
    assert "the last output, background, is not used" in checkpoint.line()
    assert checkpoint.facts()["width"] == 0.5
    exported = public_checkpoint(checkpoint.build(), "edgenets")
    assert exported.keys() == CITY.keys()
    assert all(torch.equal(exported[name], value) for name, value in CITY.items())


def test_a_file_of_voc_has_its_own_width_and_projection(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(VOC, path)
    checkpoint = open_checkpoint(path)
    described = checkpoint.architecture
    assert described is not None and "background" not in checkpoint.line()
    assert (described.num_classes, described.idle_outputs) == (21, 0)
    assert (described.width, described.projection) == (1.0, 8)
    kept = public_checkpoint(checkpoint.build(), "edgenets")
    assert all(torch.equal(kept[name], value) for name, value in VOC.items())


def test_twenty_outputs_are_twenty_classes_where_the_data_have_them(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(CITY, path)
    names = ",".join(f"c{number}" for number in range(20))
    folder = {"dataset": "folder", "source_root": "a", "target_root": "b", "classes": names}
    described = open_source_model(settings_of(**folder), path).architecture
    assert described is not None and (described.num_classes, described.idle_outputs) == (20, 0)


def test_a_network_keeps_its_idle_output_in_files_of_this_project(tmp_path: Path) -> None:
    path, own = tmp_path / "file.pth", tmp_path / "own.safetensors"
    torch.save(CITY, path)
    network = open_checkpoint(path).build()
    save_network(network, own, tuple(f"c{number}" for number in range(19)))
    back = open_checkpoint(own)
    assert back.architecture == network.architecture
    state = public_checkpoint(back.build(), "edgenets")
    assert all(torch.equal(state[name], value) for name, value in CITY.items())


def test_the_commands_describe_and_export_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "file.pth", tmp_path / "again.pth"
    torch.save(CITY, path)
    assert main(["checkpoint", str(path)]) == 0
    assert "all keys fit" in capsys.readouterr().out
    assert main(["export-model", str(path), "--out", str(out)]) == 0
    assert "written as edgenets has it" in capsys.readouterr().out
    again = torch.load(out, weights_only=True)
    assert again.keys() == CITY.keys()
    assert all(torch.equal(again[name], value) for name, value in CITY.items())


@pytest.mark.parametrize("own", [False, True])
def test_source_training_starts_from_all_of_f(own: bool, tmp_path: Path) -> None:
    path = tmp_path / "voc.pth"
    state = espnetv2_state(0.5, 21)
    torch.save(state, path)
    if own:
        network, path = open_checkpoint(path).build(), tmp_path / "voc.safetensors"
        save_network(network, path, tuple(f"c{number}" for number in range(21)))
    torch.manual_seed(0)
    built = new_network(settings_of(source_init=str(path)))
    assert built.architecture.num_classes == 19 and built.architecture.idle_outputs == 0
    features = built.features.state_dict()
    expected = {name: value for name, value in state.items() if not name.startswith("bu_dec_l4.")}
    assert features.keys() == expected.keys()
    assert all(torch.equal(features[name], value) for name, value in expected.items())
    torch.manual_seed(0)
    drawn = new_network(settings_of()).classifier.state_dict()
    found = built.classifier.state_dict()
    assert all(torch.equal(found[name], value) for name, value in drawn.items())


def poisoned() -> State:
    weight = CITY["bu_dec_l1.stages.0.weight"].clone()
    weight[0] = float("nan")
    return CITY | {"bu_dec_l1.stages.0.weight": weight}


BROKEN: dict[str, tuple[State, str]] = {
    "a width's key is missing": (
        *(
            without(CITY, "base_net.level1.act.weight"),
            "lacks base_net.level1.act.weight: it is no ",
        ),
    ),
    "no classifier": (without(CITY, "bu_dec_l4."), "lacks bu_dec_l4.merge_layer.3.weight"),
    "a key is missing": (
        *(
            without(CITY, "bu_br_l3.0.bias"),
            r"does not fit espnetv2: keys 1 missing \(bu_br_l3.0.b",
        ),
    ),
    "a key too many": (
        *(CITY | {"base_net.level5.weight": torch.ones(1)}, r"1 unexpected \(base_net.level5.weig"),
    ),
    "another shape": (
        CITY | {"bu_dec_l2.stages.1.weight": torch.ones(9, 1, 3, 3)},
        r"bu_dec_l2.stages.1.weight \(9, 1, 3, 3\) for \(10, 1, 3, 3\)",
    ),
    "another width": (
        *(CITY | {"base_net.level1.act.weight": torch.ones(24)}, "with 24, 32, 64, 128 channels"),
    ),
    "not finite": (poisoned(), "bu_dec_l1.stages.0.weight holds values that are not finite"),
    "the classes of ImageNet": (
        {k.removeprefix("base_net."): v for k, v in CITY.items() if k.startswith("base_net.")},
        "is of ESPNetv2 for the classes of ImageNet .* EdgeNets' ESPNetv2 and networks of this",
    ),
    "two networks": (
        *(
            under("a.", CITY) | under("b.", CITY),
            "holds 2 networks, whose keys begin with 'a.', 'b",
        ),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    state, message = BROKEN[name]
    path = tmp_path / "file.pth"
    torch.save(state, path)
    refused(lambda: open_checkpoint(path).build(), path, message)


def test_files_that_do_not_fit_the_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(CITY, path)

    def opened(**changes: Any) -> Callable[[], object]:
        return lambda: open_source_model(settings_of(**changes), path)

    refused(opened(network_width=1), path, "of width 0.5, and .* width 1: set network_width=0.5")
    refused(opened(network="deeplabv3_resnet50", network_width=1), path, "is of espnetv2, and the")
    refused(opened(checkpoint_family="torchvision"), path, "none of checkpoint_family=torchvision")
    torch.save(espnetv2_state(0.5, 21), path)
    refused(opened(), path, "has 21 classes, and the data have 19")


def test_initialisations_of_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "init.pth"
    torch.save(espnetv2_state(1.0, 21), path)
    wide = settings_of(source_init=str(path))
    refused(lambda: new_network(wide), path, r"of width 1, and .* 0\.5: set network_width=1, or")
    other = Settings().replace(network="deeplabv2_resnet101", source_init=str(path))
    refused(lambda: new_network(other), path, "is an ESPNetv2, and .* of deeplabv2_resnet101")
    torch.save(backbone() | {"fc.weight": torch.ones(9, 256)}, path)
    refused(lambda: new_network(wide), path, "is a ResNet, and the settings are of espnetv2")
    torch.save(build_network("small_deeplab", 8, 3).state_dict(), path)
    refused(lambda: open_backbone(path), path, "holds no ResNet or ESPNetv2")


@pytest.mark.slow
@pytest.mark.long
def test_an_onnx_file_takes_images_of_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network = assemble(Architecture("espnetv2", 0, 5, width=0.5)).eval()
    for norm in batch_norms(network):
        norm.get_buffer("running_mean").normal_(0, 0.1)
        norm.get_buffer("running_var").uniform_(0.5, 1.5)
    out = tmp_path / "city.onnx"
    assert export_onnx(network, tuple("abcde"), out) < 1e-4
    assert not torch.are_deterministic_algorithms_enabled()
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for size in ((1, 3, 64, 96), (2, 3, 120, 160), (1, 3, 33, 41)):
        images = torch.rand(size)
        with torch.no_grad():
            expected = network(images)
        (found,) = session.run(None, {"images": images.numpy()})
        assert found.shape == expected.shape
        assert float((torch.from_numpy(found) - expected).abs().max()) < 1e-4 * float(
            expected.abs().max()
        )


def test_the_export_alone_takes_the_place_of_adaptive_pooling() -> None:
    network, other = (
        assemble(Architecture("espnetv2", 0, 5, width=0.5)),
        build_network("small_deeplab", 8, 3),
    )
    enabled = torch.are_deterministic_algorithms_enabled
    with _without_adaptive_pooling(network):
        assert enabled()
    with _without_adaptive_pooling(other):
        assert not enabled()
    assert not enabled()
