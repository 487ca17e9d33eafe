"""Every kind of network goes through a trial and what follows it."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from studies.__main__ import main
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.memory.estimate import phases
from stvm.networks import Architecture, find_network
from stvm.pretrained import open_checkpoint, save_network
from stvm.records.results import Results
from stvm.settings import Settings
from stvm.source_model.loading import described_by, new_network, open_source_model
from stvm.trial.inputs import check_inputs
from stvm.trial.recorded_name import named
from stvm.trial.run_and_record import run_and_record
from tests.helpers.any_network import OWN, kind, make_own, make_segformer
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
KINDS = (
    *("lraspp_mobilenet_v3_large", "timm:test_resnet", "timm:test_vit", "segformer", "own"),
    "espnetv2",
)
PACKAGES = {
    "lraspp_mobilenet_v3_large": "torchvision",
    "timm": "timm",
    "segformer": "transformers",
}


class Stop(Exception):
    pass


def stop_at_three(done: int, total: int, watch: object = None) -> None:
    if done == 3 and total == 6:
        raise Stop


def settings_for(name: str, folder: Path, **changes: Any) -> Settings:
    return tiny(**kind(name, folder), keep_model=True, width=96, height=64, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    # timm's other network and, for batch norm, that of torchvision go the same way.
    "name",
    [pytest.param(n, marks=pytest.mark.long) if n == "timm:test_resnet" else n for n in KINDS],
)
def test_a_trial_is_resumed_to_the_bit_and_its_network_predicts_and_is_exported(
    name: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(name, tmp_path)
    whole, parted = Results(tmp_path / "whole"), Results(tmp_path / "parted")
    settings = named(settings, whole, Contents(cache))
    assert not check_inputs([settings], cache)
    record = run_and_record(settings, whole, cache, CPU)
    with pytest.raises(Stop):
        run_and_record(settings, parted, cache, CPU, progress=stop_at_three, every_s=0)
    again = run_and_record(settings, parted, cache, CPU)
    assert again.run["resumed_from"] == 3 and again.result == record.result
    package = PACKAGES.get(name.partition(":")[0])
    built_by = f"{package} {import_module(package).__version__.split('+')[0]}" if package else ""
    assert record.run.get("network_package", "").split("+")[0] == built_by
    files = [results.model_path(record.hash) for results in (whole, parted)]
    kept = [load_file(file) for file in files]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])

    Image.new("RGB", (50, 40), (90, 120, 30)).save(tmp_path / "a.png")
    words = [record.hash, "--results", str(tmp_path / "whole")]
    out = str(tmp_path / "out")
    assert main(["predict", *words, str(tmp_path / "a.png"), "--out", out]) == 0
    assert {p.name for p in Path(out).glob("a_*.png")} >= {"a_labels.png", "a_reliability.png"}
    assert main(["export-model", *words, "--out", str(tmp_path / "w.pth")]) == 0
    state = torch.load(tmp_path / "w.pth", weights_only=True)
    own = open_checkpoint(files[0], default=described_by(settings, 19)).build().state_dict()
    assert sorted(v.sum().item() for v in state.values()) == pytest.approx(
        sorted(v.sum().item() for v in own.values())
    )
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        n if n.startswith(("timm", "own")) else pytest.param(n, marks=pytest.mark.long)
        for n in KINDS
    ],
)
def test_the_memory_estimate_counts_the_weights_of_every_kind(name: str, tmp_path: Path) -> None:
    settings = settings_for(name, tmp_path)
    network = new_network(settings)
    size = sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))
    found = {phase.name: phase for phase in phases(settings)}
    assert found["source training"].parts["weights"] == size
    assert found["adaptation"].peak > found["source training"].parts["weights"]


@pytest.mark.parametrize("setting", [{"procedure": "adabn"}, {"start_bn": 0.5}])
def test_a_network_without_batch_norm_says_so_where_it_is_needed(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    off = {"st": False, "aug": False, "mt": False, "mgs": False, "mocm": False}
    changes = setting | (off if "procedure" in setting else {})
    with pytest.raises(StvmError, match="has no batch norm with running statistics"):
        check_inputs([tiny(**kind("own", tmp_path), **changes)])


def test_code_is_named_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    results, contents = Results(tmp_path / "results"), Contents(tmp_path / "cache")
    (tmp_path / "other").mkdir()
    here, there = make_own(tmp_path), make_own(tmp_path / "other", name="moved.py")
    first, second = (named(tiny(network=n), results, contents) for n in (here, there))
    assert first.network.network_content and first.hash() == second.hash()
    assert first.source_hash() == second.source_hash()
    make_own(tmp_path, OWN + "\n# another line\n")
    fresh = Contents(tmp_path / "cache")
    assert named(tiny(network=here), results, fresh).hash() != first.hash()
    with pytest.raises(StvmError, match="differ from those that network_content stands for"):
        named(first, results, fresh)
    with pytest.raises(StvmError, match="differs from the one that was named or trained with"):
        new_network(first)


def test_a_folder_of_hugging_face_is_a_source_model_with_its_classes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = make_segformer(tmp_path)
    path = folder / "model.safetensors"
    checkpoint = open_checkpoint(path)
    network = checkpoint.build()
    assert (
        checkpoint.class_names[:2] == ("road", "sidewalk") and checkpoint.family == "transformers"
    )
    assert network.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    theirs = transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()
    images = torch.rand(2, 3, 70, 90)
    with torch.no_grad():
        expected = theirs(network.normalised(images)).logits
        torch.testing.assert_close(network.logits(images), expected)
    settings = tiny(network=f"segformer:{folder}", source_checkpoint=str(path))
    assert "transformers" in check_inputs([settings])[0]
    state = torch.load(_broken(path, tmp_path / "pytorch_model.bin"), weights_only=True)
    assert state
    with pytest.raises(StvmError, match="does not fit its config.json: keys 1 missing"):
        open_checkpoint(tmp_path / "pytorch_model.bin").build()
    (folder / "config.json").unlink()
    with pytest.raises(StvmError, match="there is no config.json"):
        new_network(tiny(network=f"segformer:{folder}"))


def _broken(path: Path, out: Path) -> Path:
    """The same weights without one of them, as an older kind of file."""
    from safetensors.torch import load_file

    state = load_file(path)
    del state["decode_head.linear_fuse.weight"]
    torch.save(state, out)
    return out


def test_a_folder_that_names_other_classes_than_its_weights_have_names_none(
    tmp_path: Path,
) -> None:
    path = make_segformer(tmp_path) / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"id2label": {"0": "road", "1": "sky"}}))
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert (
        checkpoint.class_names == ()
        and checkpoint.build().logits(torch.rand(1, 3, 32, 32)).shape[1] == 19
    )


def test_weights_of_timm_are_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    path = tmp_path / "w.pth"
    for name in ("test_resnet", "test_vit", "test_convnext"):
        theirs = timm.create_model(name, pretrained=False)
        torch.save(theirs.state_dict(), path)
        settings = tiny(network=f"timm:{name}", source_init=str(path))
        network = new_network(settings)
        own = sorted(v.double().sum().item() for v in network.features.state_dict().values())
        known = {round(v.double().sum().item(), 9) for v in theirs.state_dict().values()}
        assert {round(value, 9) for value in own} <= known
    with pytest.raises(StvmError, match="does not fit timm:test_resnet: keys .* missing"):
        new_network(settings.replace(network="timm:test_resnet"))


def test_a_kept_network_of_timm_is_normalised_as_it_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    network, path = new_network(tiny(network="timm:test_vit")), tmp_path / "w.safetensors"
    mean = timm.get_pretrained_cfg("test_vit").mean
    assert network.mean.flatten().tolist() == pytest.approx(list(mean))
    save_network(network, path, ())
    other = timm.models.PretrainedCfg(mean=(0.1, 0.2, 0.3))
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: other)
    assert torch.equal(open_checkpoint(path).build().mean, network.mean)
    fresh = new_network(tiny(network="timm:test_vit"))
    assert fresh.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_backbone_of_timm_is_named_by_stride_and_nearest_name() -> None:
    pytest.importorskip("timm")
    made = new_network(tiny(network="timm:test_resnet", output_stride=8)).eval()
    assert made.extract(torch.rand(1, 3, 64, 64)).shape[2:] == (8, 8)
    with pytest.raises(StvmError, match="timm has no network 'test_resnot': did you mean"):
        new_network(tiny(network="timm:test_resnot"))
    with pytest.raises(StvmError, match="no features at output_stride=8: set it to one of 16"):
        new_network(tiny(network="timm:test_vit", output_stride=8))
    with pytest.raises(StvmError, match="output_stride=8 is for timm:NAME"):
        tiny(output_stride=8)


@torch.no_grad()
@pytest.mark.parametrize(("name", "stride"), [("test_resnet", 8), ("test_vit", 16)])
def test_features_of_timm_are_its_last_at_the_stride_under_rates_that_see_as_far(
    name: str, stride: int
) -> None:
    timm = pytest.importorskip("timm")
    made = new_network(tiny(network=f"timm:{name}", output_stride=stride)).eval()
    known = timm.get_pretrained_cfg(name)
    images = torch.rand(1, 3, 160, 160)
    pixels = (images - torch.tensor(known.mean).view(3, 1, 1)) / torch.tensor(known.std).view(
        3, 1, 1
    )
    torch.testing.assert_close(made.normalised(images), pixels)
    options = {"output_stride": stride} if name == "test_resnet" else {"dynamic_img_size": True}
    theirs = timm.create_model(name, features_only=True, **options).eval()
    values = dict(zip(theirs.state_dict(), made.features.net.state_dict().values(), strict=True))
    theirs.load_state_dict(values)
    torch.testing.assert_close(made.extract(images), theirs(pixels)[-1])
    dilations = [m.dilation[0] for m in made.classifier.modules() if isinstance(m, nn.Conv2d)]
    # 48 to 192 pixels of the image, as with DeepLabV2's 6, 12, 18, 24 at stride 8.
    assert [dilation * stride for dilation in dilations] == [48, 96, 144, 192]


def test_a_folder_that_normalises_nothing_gives_pixels_as_they_are(tmp_path: Path) -> None:
    folder, images = make_segformer(tmp_path), torch.rand(1, 3, 4, 4)
    settings = tiny(network=f"segformer:{folder}")
    before = named(settings, Results(tmp_path / "r"), Contents(tmp_path / "cache")).hash()
    text = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").write_text(text.replace("true", "false"))
    assert torch.equal(new_network(settings).normalised(images), images)
    fresh = Contents(tmp_path / "cache")
    assert named(settings, Results(tmp_path / "r"), fresh).hash() != before


def test_without_the_library_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(StvmError, match=r"pip install -e '\.\[timm\]'"):
        new_network(tiny(network="timm:test_resnet"))
    assert find_network("timm:anything").tried


def test_own_weights_are_a_source_model_and_run_no_code_by_themselves(tmp_path: Path) -> None:
    name, path = make_own(tmp_path), tmp_path / "w.pth"
    network = new_network(tiny(network=name))
    state = {k.replace("features.module.", "features."): v for k, v in network.state_dict().items()}
    torch.save({"model": state}, path)
    settings = tiny(network=name, source_checkpoint=str(path))
    check_inputs([settings])
    loaded = open_source_model(settings, path).build()
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    torch.save(state | {"backbone.x": torch.ones(1)}, path)
    with pytest.raises(StvmError, match="has the key backbone.x: for .*my_network.py:build"):
        check_inputs([settings])
    torch.save({k: v for k, v in state.items() if k != "classifier.0.weight"}, path)
    with pytest.raises(StvmError, match=r"1 missing \(classifier.0.weight\)"):
        check_inputs([settings])
    torch.save(state, path)
    with pytest.raises(StvmError, match="w.pth does not tell its classes: for .*my_network.py"):
        open_checkpoint(path, default=Architecture(name, 0, 0))
    save_network(network, tmp_path / "kept.safetensors", ())
    with pytest.raises(StvmError, match="is of a network of your own, .*: name it with network="):
        open_checkpoint(tmp_path / "kept.safetensors")
