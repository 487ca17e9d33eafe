"""What a network is built as, in plain values: a checkpoint's file keeps them."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

Branches = Literal["two", "four"]


@dataclass(frozen=True)
class Architecture:
    """Enough to build a network that weights fit.

    Attributes:
        network: small_deeplab, deeplabv2_resnet101 or deeplabv3_resnet50.
        channels: of the features of small_deeplab.
        num_classes: C.
        auxiliary: there is a second classifier on layer 3.
        aspp_branches: DeepLabV2: how many of the rates 6, 12, 18, 24 count.
        idle_branches: those that do not count have weights nevertheless.
        backbone: DeepLabV2: a name in `stvm.networks.resnet.FORMS`.
        normalisation: a name in `stvm.networks.normalisation.NORMALISATIONS`.
    """

    network: str
    channels: int
    num_classes: int
    auxiliary: bool = False
    aspp_branches: Branches = "four"
    idle_branches: bool = True
    backbone: str = "caffe"
    normalisation: str = "rgb_imagenet"

    def facts(self) -> dict[str, str]:
        """Name to value, as text."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_facts(cls, facts: dict[str, str]) -> Self:
        """What `facts` came from.

        Raises:
            KeyError, ValueError: a value that is missing or none of its kind.
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
        )
