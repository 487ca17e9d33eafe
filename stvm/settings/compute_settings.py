"""Settings of the device: speed and memory, not the method."""

from typing import Literal, Self

from pydantic import model_validator

from stvm.settings.fields import SettingsGroup, hashed_if_changed


class ComputeSettings(SettingsGroup):
    """How a device computes. The options may change results in the last digits."""

    precision: Literal["float32", "tf32", "bfloat16"] = hashed_if_changed(
        "float32",
        description="Precision of training passes (tf32: also of evaluation); weights and losses "
        "are float32.",
    )
    channels_last: bool = hashed_if_changed(
        False, description="Keep images and weights in channels-last order."
    )
    compile: bool = hashed_if_changed(
        False, description="Compile the networks of training passes with torch.compile."
    )
    deterministic: bool = hashed_if_changed(
        False, description="Use only operations that repeat to the bit; others are an error."
    )
    cudnn_benchmark: bool = hashed_if_changed(
        False,
        description="Let cuDNN try its algorithms and use the fastest, which is not always the "
        "same one.",
    )
    patches_on: Literal["device", "cpu"] = hashed_if_changed(
        "device", description="Memory that holds MOCM's patches: the device's or the CPU's."
    )
    keep_model: bool = hashed_if_changed(
        False, description="Keep the reported network in a file beside the record."
    )

    @model_validator(mode="after")
    def _deterministic_chooses_no_algorithms(self) -> Self:
        if self.deterministic and self.cudnn_benchmark:
            raise ValueError(
                "cudnn_benchmark picks algorithms by their time, and deterministic forbids that: "
                "set one of the two to false"
            )
        return self
