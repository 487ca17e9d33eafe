"""Description of a network in plain values, which a checkpoint file keeps."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, cast

Branches = Literal["two", "four"]


def _branches(text: str) -> Branches:
    if text not in ("two", "four"):
        raise ValueError(f"aspp_branches={text}")
    return cast(Branches, text)


_READ: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: text == "True",
    Branches: _branches,
}
"""Type of a value to the function that reads it from text."""
_OF_ESPNETV2 = ("width", "projection", "idle_outputs")
_LATER = (*_OF_ESPNETV2, "output_stride", "config", "content")
"""Values that files of earlier versions lack; at their default only ESPNetv2's own are written."""


@dataclass(frozen=True)
class Architecture:
    """Enough to build a network that weights fit.

    Attributes:
        network: Name that `find_network` knows.
        channels: Channels of the features; used by small_deeplab alone.
        num_classes: Number of classes, C.
        auxiliary: Whether there is a second classifier on layer 3.
        aspp_branches: Number of active branches of DeepLabV2's classifier: the first two or all
            four of the rates 6, 12, 18, 24.
        idle_branches: Whether inactive branches of DeepLabV2 have weights nevertheless.
        backbone: Form of DeepLabV2's backbone, a name in `stvm.networks.resnet.FORMS`.
        normalisation: Name in `stvm.networks.normalisation.NORMALISATIONS`.
        width: Width of ESPNetv2, a key of `stvm.networks.known_networks.WIDTHS`.
        projection: Channels of each map within ESPNetv2's pyramid poolings.
        idle_outputs: Number of outputs of ESPNetv2's classifier, behind those of the classes, that
            have weights and are not computed.
        output_stride: Stride of the features; used by timm:NAME alone.
        config: JSON text that describes a SegFormer, or the normalisation of timm:NAME.
        content: SHA-256 of the user's file from which FILE.py:FUNCTION is built.
    """

    network: str
    channels: int
    num_classes: int
    auxiliary: bool = False
    aspp_branches: Branches = "four"
    idle_branches: bool = True
    backbone: str = "caffe"
    normalisation: str = "rgb_imagenet"
    width: float = 1.0
    projection: int = 10
    idle_outputs: int = 0
    output_stride: int = 0
    config: str = ""
    content: str = ""

    def facts(self) -> dict[str, str]:
        """All values by name, as text."""
        own = _OF_ESPNETV2 if self.network == "espnetv2" else ()
        usual = {f.name: f.default for f in fields(self) if f.name in _LATER and f.name not in own}
        return {
            name: str(value)
            for name, value in asdict(self).items()
            if name not in usual or value != usual[name]
        }

    @classmethod
    def from_facts(cls, facts: dict[str, str]) -> Self:
        """The architecture that `facts` describes; the inverse of `facts()`.

        Files that were written before there was an ESPNetv2 lack its values.

        Raises:
            KeyError: A value is missing.
            ValueError: A value is not one of the possible ones.
        """
        return cls(
            **{
                f.name: _READ[f.type](facts[f.name])
                for f in fields(cls)
                if f.name in facts or f.name not in _LATER
            }
        )
