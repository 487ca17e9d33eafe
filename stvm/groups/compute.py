"""How a device computes: speed and memory, not the method."""

from typing import Literal

from stvm.groups.base import Group, later


class ComputeSettings(Group):
    """How a device computes; what is off by default may change results in the last digits."""

    precision: Literal["float32", "bfloat16"] = later(
        "float32", description="Of the networks' passes; weights and losses stay float32."
    )
    channels_last: bool = later(False, description="Images and weights in channels-last order.")
    compile: bool = later(False, description="Passes through torch.compile.")
    deterministic: bool = later(False, description="Refuse operations that may not repeat.")
    keep_model: bool = later(False, description="Keep the reported network beside the record.")
