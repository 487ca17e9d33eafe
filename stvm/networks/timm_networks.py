"""Backbones of timm with features, under DeepLabV2's summed ASPP."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stvm.errors import StvmError, nearest, one_line
from stvm.networks.architecture import Architecture
from stvm.networks.aspp import RATES, SummedAspp
from stvm.networks.normalisation import Normalisation
from stvm.networks.segmentation_network import SegmentationNetwork

_STRIDE_OF_RATES = 8
_REFUSALS = (TypeError, NotImplementedError, AssertionError, RuntimeError, KeyError, ValueError)


class TimmFeatures(nn.Module):
    """The last of the maps that a backbone of timm gives, with the channels first.

    Args:
        net: Backbone made with `features_only`.
        channels: Number of channels of the last map, D.
    """

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features (N, D, h, w)."""
        maps: Tensor = self.net(images)[-1]
        if maps.shape[1] != self.channels and maps.shape[3] == self.channels:
            return maps.permute(0, 3, 1, 2)
        return maps


def timm_network(architecture: Architecture) -> SegmentationNetwork:
    """A backbone of timm by its name, with random weights; nothing is downloaded.

    The rates of the ASPP see as far as DeepLabV2's: 6, 12, 18, 24 at stride 8, half at stride 16.

    Raises:
        StvmError: timm is not installed or has no such backbone, or it has no features at the
            stride.
    """
    name, stride = architecture.network.removeprefix("timm:"), architecture.output_stride
    timm = import_timm()
    _refuse_unknown(timm, name)
    net = _features(timm, name, stride)
    channels = net.feature_info.channels()[-1]
    rates = [max(1, rate * _STRIDE_OF_RATES // stride) for rate in RATES]
    head = partial(_head, channels, tuple(rates))
    # A file keeps the normalisation that it was trained with: timm's may change by version.
    text = architecture.config or _normalisation_of(timm, name)
    mean, std = (tuple(json.loads(text)[part]) for part in ("mean", "std"))
    described = replace(architecture, config=text)
    return SegmentationNetwork(
        *(described, TimmFeatures(net, channels), head(architecture.num_classes), head),
        normalisation=Normalisation(f"timm's of {name}", mean, std, False),
    )


def _normalisation_of(timm: Any, name: str) -> str:
    """JSON text of timm's mean and deviation for a name."""
    known = timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    return json.dumps({"mean": [*known.mean], "std": [*known.std]})


def import_timm() -> Any:
    """The library.

    Raises:
        StvmError: It is not installed.
    """
    try:
        import timm
    except ImportError:
        raise StvmError("network=timm:NAME needs timm: pip install -e '.[timm]'") from None
    return timm


def keys_of(name: str) -> list[str]:
    """Names of the weights in timm's file of a whole network."""
    with torch.device("meta"):
        return list(import_timm().create_model(name, pretrained=False).state_dict())


def _head(channels: int, rates: tuple[int, ...], out_channels: int) -> nn.Module:
    return SummedAspp(channels, out_channels, rates)


def _refuse_unknown(timm: Any, name: str) -> None:
    if not timm.is_model(name.partition(".")[0]):
        near = nearest(name, timm.list_models())
        raise StvmError(
            f"timm has no network '{name}': "
            + (f"did you mean 'timm:{near}'?" if near else "timm.list_models() lists them")
        )


def _features(timm: Any, name: str, stride: int) -> Any:
    """The backbone whose last map has the stride: dilated if it can be, else cut off there.

    Raises:
        StvmError: It gives no features, or none at this stride.
    """
    for options in _ways(stride):
        try:
            net = timm.create_model(name, pretrained=False, features_only=True, **options)
        except _REFUSALS:
            continue
        if net.feature_info.reduction()[-1] == stride:
            return net
    strides: set[int] = set()
    for options in _ways(None):
        try:
            with torch.device("meta"):
                net = timm.create_model(name, pretrained=False, features_only=True, **options)
        except _REFUSALS as error:
            reason = one_line(error)
            continue
        found = net.feature_info.reduction()
        strides |= set(found)
        if stride in found:
            # Counted from the end, as some networks number their levels in other ways.
            level = len(found) - 1 - found[::-1].index(stride)
            index = net.feature_info.out_indices[level]
            return timm.create_model(
                *(name, False), features_only=True, out_indices=(index,), **options
            )
    if not strides:
        raise StvmError(f"timm:{name} gives no features to classify ({reason}): use another")
    listed = ", ".join(map(str, sorted(strides)))
    raise StvmError(
        f"timm:{name} has no features at output_stride={stride}: set it to one of {listed}"
    )


def _ways(stride: int | None) -> Iterator[dict[str, Any]]:
    """Options that let a network have a stride or take images of any size, one set for a kind."""
    free: tuple[dict[str, Any], ...] = (
        {"dynamic_img_size": True},
        {"strict_img_size": False},
        {},
    )
    if stride is not None:
        yield {"output_stride": stride}
    yield from free
