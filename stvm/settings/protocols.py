"""Evaluation protocols by name: at which size an image enters, and where its labels are compared.

The paper states neither, and the field's codes differ by points. A name says whose code does so;
what it means stands in the record and above the table.
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
        name: of the setting `protocol`.
        about: whose practice it is, one sentence.
        input_size: of images as they enter the network; None for the size of the trial's images.
        label_size: of labels, to which logits are enlarged; None for the size of the input.
        align_corners: of the bilinear enlargement of the logits.
        scales: of the input in multi-scale testing.
        flip: multi-scale testing sees every scale mirrored too.
        scales_by: whose choice scales and flips are.
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
        """Images or labels differ in size from those of the trial."""
        return (self.input_size, self.label_size) != (None, None)

    def sizes(self, height: int, width: int) -> tuple[Size, Size]:
        """Sizes of input and labels where the trial's images are `height` x `width`."""
        images = self.input_size or (height, width)
        return images, self.label_size or images

    def sentence(self, height: int, width: int) -> str:
        """What it means for images of this size, without a full stop."""
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
        """Scales, flips and whose choice they are, without a full stop."""
        mirrored = ", each also mirrored" if self.flip else ""
        return (
            f"multi-scale testing (MST): softmax summed over scales {_list(self.scales)} of the "
            f"input{mirrored}; {self.scales_by}"
        )

    def as_dict(self, height: int, width: int) -> dict[str, Any]:
        """For the record of a trial whose images are `height` x `width`."""
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
"""By name. Those that give sizes are for targets of Cityscapes' shape, 2048x1024."""


def find_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        StvmError: there is none; the message proposes the nearest.
    """
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise unknown("protocol", name, PROTOCOLS)
