"""Description of a network in plain values, which a checkpoint file keeps."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

Branches = Literal["two", "four"]

_OF_ESPNETV2 = ("width", "projection", "idle_outputs")


@dataclass(frozen=True)
class Architecture:
    """Enough to build a network that weights fit.

    Attributes:
        network: Name: small_deeplab, deeplabv2_resnet101, deeplabv3_resnet50 or espnetv2.
        channels: Channels of the features; used by small_deeplab alone.
        num_classes: Number of classes, C.
        auxiliary: Whether there is a second classifier on layer 3.
        aspp_branches: Number of active branches of DeepLabV2's classifier: the first two or all
            four of the rates 6, 12, 18, 24.
        idle_branches: Whether inactive branches of DeepLabV2 have weights nevertheless.
        backbone: Form of DeepLabV2's backbone, a name in `stvm.networks.resnet.FORMS`.
        normalisation: Name in `stvm.networks.normalisation.NORMALISATIONS`.
        width: Width of ESPNetv2, a key of `stvm.networks.espnetv2.WIDTHS`.
        projection: Channels of each map within ESPNetv2's pyramid poolings.
        idle_outputs: Number of outputs of ESPNetv2's classifier, behind those of the classes, that
            have weights and are not computed.
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

    def facts(self) -> dict[str, str]:
        """All values by name, as text; those of ESPNetv2 for it alone."""
        idle = () if self.network == "espnetv2" else _OF_ESPNETV2
        return {name: str(value) for name, value in asdict(self).items() if name not in idle}

    @classmethod
    def from_facts(cls, facts: dict[str, str]) -> Self:
        """The architecture that `facts` describes; the inverse of `facts()`.

        Files that were written before there was an ESPNetv2 lack its values.

        Raises:
            KeyError: A value is missing.
            ValueError: A value is not one of the possible ones.
        """
        branches = facts["aspp_branches"]
        if branches not in ("two", "four"):
            raise ValueError(f"aspp_branches={branches}")
        return cls(
            network=facts["network"],
            channels=int(facts["channels"]),
            num_classes=int(facts["num_classes"]),
            auxiliary=facts["auxiliary"] == "True",
            aspp_branches="two" if branches == "two" else "four",
            idle_branches=facts["idle_branches"] == "True",
            backbone=facts["backbone"],
            normalisation=facts["normalisation"],
            width=float(facts.get("width", "1.0")),
            projection=int(facts.get("projection", "10")),
            idle_outputs=int(facts.get("idle_outputs", "0")),
        )
