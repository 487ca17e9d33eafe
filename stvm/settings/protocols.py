"""Evaluation protocols by name: the size of the input, and the size at which labels are compared.

The paper states neither. Codes of the field differ in it, and their figures differ by points. A
protocol is named after a code that uses it. The record and the table say what it means.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stvm.errors import unknown

OWN_SCALES = "chosen for this project, since the paper gives no scales"
Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Protocol:
    """How mIoU is measured.

    Attributes:
        name: value of the setting `protocol`.
        about: description of one sentence.
        input_size: size of the network's input; None for the size of the trial's images.
        label_size: size of labels, to which logits are enlarged; None for the size of the input.
        align_corners: option of the bilinear enlargement of the logits.
        scales: scales of the input in multi-scale testing.
        flip: whether multi-scale testing also mirrors every scale.
        scales_by: origin of scales and flips, for people.
    """

    name: str
    about: str
    input_size: Size | None = None
    label_size: Size | None = None
    align_corners: bool = False
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    flip: bool = True
    scales_by: str = OWN_SCALES

    @property
    def resizes(self) -> bool:
        """Whether images or labels have another size than those of the trial."""
        return (self.input_size, self.label_size) != (None, None)

    def sizes(self, height: int, width: int) -> tuple[Size, Size]:
        """Sizes of input and labels for a trial's images of `height` x `width`."""
        images = self.input_size or (height, width)
        return images, self.label_size or images

    def sentence(self, height: int, width: int) -> str:
        """The protocol in words for images of this size, without a full stop."""
        images, labels = map(_text, self.sizes(height, width))
        corners = "aligned" if self.align_corners else "not aligned"
        size = f"images of {images}, labels of {labels}"
        if images == labels:
            size = f"images and labels of {images}"
        return (
            f"protocol {self.name}: {size} (width x height), logits enlarged bilinearly, corners "
            f"{corners}"
        )

    def multi_scale_sentence(self) -> str:
        """Scales, flips and their origin in words, without a full stop."""
        mirrored = ", each also mirrored" if self.flip else ""
        return (
            f"multi-scale testing (MST): softmax summed over scales {_list(self.scales)} of the "
            f"input{mirrored}; {self.scales_by}"
        )

    def as_dict(self, height: int, width: int) -> dict[str, Any]:
        """The protocol in the record of a trial whose images are `height` x `width`."""
        images, labels = self.sizes(height, width)
        return {
            "name": self.name,
            "input_size": list(images),
            "label_size": list(labels),
            "align_corners": self.align_corners,
        }


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def _list(scales: Iterable[float]) -> str:
    *most, last = (f"{scale:g}" for scale in scales)
    return f"{', '.join(most)} and {last}" if most else last


IMAGE = Protocol("image", "At the size of the trial's images, corners not aligned.")

_HALF, _FULL = (512, 1024), (1024, 2048)
_DTST: dict[str, Any] = {
    "label_size": _FULL,
    "align_corners": True,
    "scales": (0.7, 1.0, 1.3),
    "scales_by": "the scales in DT-ST's code, where they are not used; the paper gives none",
}

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        IMAGE,
        Protocol(
            "adaptsegnet",
            "As AdaptSegNet and ADVENT: 1024x512 in, Cityscapes' labels at 2048x1024.",
            *(_HALF, _FULL, True),
        ),
        Protocol(
            "maxsquare",
            "As MaxSquare, URMA and DACS: labels made smaller, 1024x512 as the images.",
            *(_HALF, _HALF, True),
        ),
        Protocol(
            "daformer",
            "As DAFormer: 1024x512 in, labels at 2048x1024, corners not aligned.",
            *(_HALF, _FULL, False),
        ),
        Protocol(
            "dtst",
            "As DT-ST and SND from GTA5: 1536x768 in, labels at 2048x1024.",
            input_size=(768, 1536),
            **_DTST,
        ),
        Protocol(
            "dtst_synthia",
            "As DT-ST and SND from SYNTHIA: 1280x640 in, labels at 2048x1024.",
            input_size=(640, 1280),
            **_DTST,
        ),
    )
}
"""Protocols by name. Those that give sizes are for targets of Cityscapes' shape, 2048x1024."""


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        StvmError: an unknown name; the message proposes the nearest one.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise unknown("protocol", name, PROTOCOLS)
