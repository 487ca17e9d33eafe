"""Writing of networks: files of this project, and public layouts that the original code loads."""

import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from stvm import __version__
from stvm.errors import StvmError
from stvm.files import write_whole
from stvm.networks import SegmentationNetwork, find_network
from stvm.pretrained.families import FAMILIES, LAYOUTS
from stvm.pretrained.fitting import public_state

_BY_BACKBONE = {
    "caffe": "adaptsegnet",
    "torchvision": "fada",
    "torchvision_frozen": "fada",
    "v1c": "mmseg",
}


def save_network(
    network: SegmentationNetwork,
    path: Path,
    class_names: tuple[str, ...],
    family: str = "stvm",
    **facts: str,
) -> None:
    """Write a network as safetensors, whole or not at all; the file describes the network.

    Args:
        network: Network on any device.
        path: Path of the file.
        class_names: Class names in train-id order.
        family: Family whose layout an export uses.
        facts: Further entries of the file's metadata.

    Raises:
        StvmError: There is no space or no permission.
    """
    described = network.architecture.facts() | {"stvm": __version__, "origin": family}
    described |= {"class_names": "\n".join(class_names)} | facts
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    content = save(state, described)
    write_whole(path, content)


def export_family(network: SegmentationNetwork, family: str) -> str:
    """Name of the public family whose layout fits the network; `family` itself if none does."""
    described = network.architecture
    facts = find_network(described.network)
    if facts.family:
        return facts.family
    if not facts.aspp_branches or family != "stvm":
        return family
    if described.backbone != "caffe":
        return _BY_BACKBONE[described.backbone]
    if described.auxiliary:
        return "adaptsegnet" if described.aspp_branches == "two" else "advent"
    return "dacs" if described.aspp_branches == "two" else "advent"


def public_checkpoint(network: SegmentationNetwork, family: str) -> dict[str, Any]:
    """State dict that the family's evaluation code loads, nested as in that code.

    Args:
        network: Network with the family's architecture.
        family: Name in `FAMILIES`.
    """
    facts = find_network(network.architecture.network)
    if not facts.family and not facts.aspp_branches:
        return {k: v.detach().cpu() for k, v in network.state_dict().items()}
    names = FAMILIES[family].layouts
    if "multi" in names:
        rest = [name for name in names if name != "multi"]
        names = ("multi",) if network.architecture.auxiliary or not rest else (rest[0],)
    state = public_state(network, LAYOUTS[names[0]])
    if network.architecture.backbone == "torchvision_frozen":
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if family == "fada":
        parts = {"feature_extractor": "backbone.", "classifier": "classifier."}
        inner = {"feature_extractor": "", "classifier": "classifier."}
        return {"iteration": 0} | {
            part: {k.removeprefix(inner[part]): v for k, v in state.items() if k.startswith(start)}
            for part, start in parts.items()
        }
    if family == "dasac":
        return {"model": {f"module.backbone.model.{k}": v for k, v in state.items()}}
    if family == "dacs":
        return {"model": state, "config": {"dataset": "cityscapes", "ignore_label": 250}}
    if family == "mmseg":
        return {"meta": {}, "state_dict": state}
    return state


def export_network(network: SegmentationNetwork, family: str, out: Path) -> None:
    """Write a state dict in the layout of a public family, whole or not at all.

    Raises:
        StvmError: The file exists or cannot be written.
    """
    _write(public_checkpoint(network, family), out)


def export_plain(network: SegmentationNetwork, out: Path) -> None:
    """Write the network's own state dict, named tensors and nothing else, whole or not at all.

    Raises:
        StvmError: The file exists or cannot be written.
    """
    _write({k: v.detach().cpu() for k, v in network.state_dict().items()}, out)


def _write(state: dict[str, Any], out: Path) -> None:
    if out.exists():
        raise StvmError(f"{out} exists and is not overwritten: name another file with --out")
    # torch's own writer reports a full disk as a RuntimeError, Python's as an OSError.
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(out, content.getbuffer())
