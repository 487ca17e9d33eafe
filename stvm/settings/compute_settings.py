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
        False, description="Channels-last order of images and weights in memory."
    )
    compile: bool = hashed_if_changed(
        False, description="Compilation of the networks of training passes by torch.compile."
    )
    deterministic: bool = hashed_if_changed(
        False, description="Restriction to operations that repeat to the bit; others are an error."
    )
    cudnn_benchmark: bool = hashed_if_changed(
        False,
        description="Choice of the fastest of cuDNN's algorithms by trial, which is not always the "
        "same one.",
    )
    patches_on: Literal["device", "cpu"] = hashed_if_changed(
        "device", description="Memory that holds MOCM's patches: the device's or the CPU's."
    )
    keep_model: bool = hashed_if_changed(
        False, description="File beside the record that keeps the reported network."
    )

    @model_validator(mode="after")
    def _deterministic_chooses_no_algorithms(self) -> Self:
        if self.deterministic and self.cudnn_benchmark:
            raise ValueError(
                "cudnn_benchmark picks algorithms by their time, and deterministic forbids that: "
                "set one of the two to false"
            )
        return self
