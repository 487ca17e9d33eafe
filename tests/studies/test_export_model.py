"""`export-model`: a network as ONNX, or as a state dict in its public layout."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from studies.__main__ import main
from stvm.errors import StvmError
from stvm.networks import build_network
from stvm.pretrained import save_network
from stvm.pretrained.onnx_file import export_onnx


@pytest.mark.slow
def test_an_onnx_file_computes_what_the_network_computes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(2)
    network = build_network("small_deeplab", 16, 3).eval()
    weights, out = tmp_path / "w.safetensors", tmp_path / "w.onnx"
    save_network(network, weights, ("road", "walk", "sky"))
    assert main(["export-model", str(weights), "--format", "onnx", "--out", str(out)]) == 0
    assert "onnxruntime differs by" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 50, 41)
    with torch.no_grad():
        logits = network.classifier(network.features((images - network.mean) / network.std))
        expected = F.interpolate(logits, (50, 41), mode="bilinear", align_corners=False)
    (found,) = session.run(None, {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=1e-4)
    names = session.get_modelmeta().custom_metadata_map["class_names"]
    assert names.split("\n") == ["road", "walk", "sky"]


def test_a_network_that_torch_cannot_export_as_onnx_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a long report")

    monkeypatch.setattr(torch.onnx, "export", fail)
    out = tmp_path / "w.onnx"
    with pytest.raises(
        StvmError, match=r"^torch cannot export .*no such operator\): use"
    ) as caught:
        export_onnx(build_network("small_deeplab", 16, 3), ("road", "walk", "sky"), out)
    assert "\n" not in str(caught.value) and not out.exists()


def test_a_plain_state_dict_is_named_tensors_and_nothing_else(tmp_path: Path) -> None:
    network = build_network("small_deeplab", 16, 3)
    weights, out = tmp_path / "w.safetensors", tmp_path / "w.pth"
    save_network(network, weights, ("road", "walk", "sky"))
    assert main(["export-model", str(weights), "--format", "plain", "--out", str(out)]) == 0
    state = torch.load(out, weights_only=True)
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    assert main(["export-model", str(weights), "--format", "plain", "--out", str(out)]) == 2


@pytest.mark.slow
def test_an_exported_trial_is_named_by_the_beginning_of_its_hash(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(kept.glob("records/*.json")).stem
    given = ["export-model", "--format", "plain", "--results", str(kept)]
    assert main([*given, name[:5], "--out", str(tmp_path / "a.pth")]) == 0
    assert (tmp_path / "a.pth").is_file()
    capsys.readouterr()
    bare = tmp_path / "bare"
    shutil.copytree(kept / "records", bare / "records")
    again = ["export-model", name[:5], "--results", str(bare), "--out", str(tmp_path / "b.pth")]
    assert main(again) == 2
    assert f"replay {name} --keep-model" in capsys.readouterr().err
