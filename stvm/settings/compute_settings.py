"""How a device computes: speed and memory, not the method."""

from typing import Literal, Self

from pydantic import model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class ComputeSettings(SettingsGroup):
    """How a device computes; what is off by default may change results in the last digits."""

    precision: Literal["float32", "tf32", "bfloat16"] = hashed_if_changed(
        "float32",
        description="Of training passes (tf32: evaluation too); weights and losses stay float32.",
    )
    channels_last: bool = hashed_if_changed(
        False, description="Images and weights in channels-last order."
    )
    compile: bool = hashed_if_changed(False, description="Training passes through torch.compile.")
    deterministic: bool = hashed_if_changed(
        False, description="Refuse operations that may not repeat."
    )
    cudnn_benchmark: bool = hashed_if_changed(
        False, description="cuDNN tries its algorithms and keeps the fastest, not always the same."
    )
    patches_on: Literal["device", "cpu"] = hashed_if_changed(
        "device", description="Whose memory holds MOCM's patches."
    )
    keep_model: bool = hashed_if_changed(
        False, description="Keep the reported network beside the record."
    )

    @model_validator(mode="after")
    def _deterministic_chooses_no_algorithms(self) -> Self:
        if self.deterministic and self.cudnn_benchmark:
            raise ValueError(
                "cudnn_benchmark picks algorithms by their time, which deterministic forbids: "
                "set one of the two to false"
            )
        return self
