"""SegFormer (Xie et al. 2021) from a folder of Hugging Face: F the encoder, C the decode head."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stvm.errors import StvmError, one_line
from stvm.networks.architecture import Architecture
from stvm.networks.label_names import read_object
from stvm.networks.normalisation import NORMALISATIONS, Normalisation
from stvm.networks.packing import Packing
from stvm.networks.segmentation_network import SegmentationNetwork

_LEFT_OUT = (
    *("id2label", "label2id", "num_labels", "_name_or_path", "architectures", "model_type"),
    *("transformers_version", "torch_dtype", "dtype", "reshape_last_stage"),
    *("output_hidden_states", "output_attentions", "return_dict", "use_return_dict"),
)
"""Entries that describe no layer."""
_IMAGENET = NORMALISATIONS["rgb_imagenet"]


class SegformerFeatures(nn.Module):
    """SegFormer's encoder; its four maps are packed into one tensor.

    Args:
        encoder: `SegformerModel` of transformers.
        packing: How the maps are packed.
    """

    def __init__(self, encoder: nn.Module, packing: Packing) -> None:
        super().__init__()
        self.encoder = encoder
        self.packing = packing

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> all maps (N, D, H / 4, W / 4)."""
        maps = self.encoder(images, output_hidden_states=True).hidden_states
        return self.packing.pack(maps[-len(self.packing.channels) :])


class PackedDecodeHead(nn.Module):
    """SegFormer's decode head on four maps in one tensor.

    Args:
        head: `SegformerDecodeHead` of transformers.
        packing: How the maps are packed.
    """

    def __init__(self, head: nn.Module, packing: Packing) -> None:
        super().__init__()
        self.head = head
        self.packing = packing

    def forward(self, packed: Tensor) -> Tensor:
        """All maps (N, D, h, w) -> (N, out_channels, h, w)."""
        scores: Tensor = self.head(self.packing.unpack(packed))
        return scores


def segformer(architecture: Architecture) -> SegmentationNetwork:
    """A SegFormer with random weights, as its folder or its saved description says.

    Raises:
        StvmError: transformers is not installed, or the folder describes no SegFormer.
    """
    theirs = import_segformer()
    text = architecture.config or read_description(folder_of(architecture.network))
    described = json.loads(text)
    config = _configured(described["model"], architecture.num_classes)
    strides = [1]
    for stride in config.strides[1 : config.num_encoder_blocks]:
        strides.append(strides[-1] * stride)
    packing = Packing(tuple(config.hidden_sizes), tuple(strides))
    # Values alone: a network is copied with its maker of heads.
    head = partial(_head, described["model"], packing)
    features = SegformerFeatures(theirs.SegformerModel(config), packing)
    mean, std = map(tuple, (described["mean"], described["std"]))
    return SegmentationNetwork(
        *(replace(architecture, config=text), features, head(architecture.num_classes), head),
        normalisation=Normalisation("of preprocessor_config.json", mean, std, False),
    )


def import_segformer() -> Any:
    """transformers' module of SegFormer.

    Raises:
        StvmError: transformers is not installed.
    """
    try:
        from transformers.models.segformer import modeling_segformer
    except ImportError:
        raise StvmError(
            "network=segformer:FOLDER needs transformers: pip install -e '.[transformers]'"
        ) from None
    return modeling_segformer


def folder_of(network: str) -> Path:
    """Folder in the setting `network`."""
    return Path(network.partition(":")[2])


def read_description(folder: Path) -> str:
    """JSON text of what the folder says of the layers and of the images' normalisation.

    Raises:
        StvmError: There is no config.json, or it is of another network.
    """
    model = read_object(folder / "config.json")
    if not model:
        raise StvmError(
            f"network=segformer:{folder}: there is no config.json: name a folder with config.json "
            "and model.safetensors"
        )
    if model.get("model_type") != "segformer":
        raise StvmError(
            f"{folder / 'config.json'} is of model_type {model.get('model_type')!r} and not "
            "'segformer'"
        )
    images = read_object(folder / "preprocessor_config.json")
    mean, std = images.get("image_mean", _IMAGENET.mean), images.get("image_std", _IMAGENET.std)
    if not images.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if not _three(mean) or not _three(std):
        raise StvmError(
            f"{folder / 'preprocessor_config.json'}: image_mean and image_std are no three numbers"
        )
    kept = {name: value for name, value in model.items() if name not in _LEFT_OUT}
    return json.dumps({"model": kept, "mean": [*mean], "std": [*std]}, sort_keys=True)


def _configured(model: dict[str, Any], classes: int) -> Any:
    try:
        return import_segformer().SegformerConfig(**model, num_labels=classes)
    except Exception as error:  # whatever an odd file leads the library to
        raise StvmError(f"config.json describes no SegFormer: {one_line(error)}") from None


def _head(model: dict[str, Any], packing: Packing, out_channels: int) -> nn.Module:
    head = import_segformer().SegformerDecodeHead(_configured(model, out_channels))
    return PackedDecodeHead(head, packing)


def _three(values: Any) -> bool:
    return isinstance(values, list | tuple) and [*map(type, values)] in ([float] * 3, [int] * 3)
