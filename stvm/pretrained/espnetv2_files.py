"""ESPNetv2 in a file of EdgeNets: its width, projection and outputs, from the shapes of weights."""

from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import Architecture
from stvm.networks.known_networks import WIDTHS
from stvm.pretrained.unwrapping import UnwrappedCheckpoint

CITYSCAPES_OUTPUTS = 20
"""Outputs of EdgeNets' Cityscapes files: 19 train ids, then the background."""


def espnetv2_architecture(
    found: UnwrappedCheckpoint, default: Architecture | None = None
) -> Architecture:
    """The network that the weights of a file fit.

    Of 20 outputs the last is the background, which is not used, unless the data have 20 classes.

    Args:
        found: State dict of the file.
        default: Architecture that the settings describe.

    Raises:
        StvmError: A weight is missing, or there is no such width.
    """
    channels = tuple(
        _weight(found, f"base_net.{level}act.weight").shape[0]
        for level in ("level1.", "level2_0.", "level3_0.", "level4_0.")
    )
    widths = [width for width, known in WIDTHS.items() if known == channels]
    if not widths:
        raise StvmError(
            f"checkpoint {found.path} is an ESPNetv2 with {', '.join(map(str, channels))} channels "
            f"in its encoder: known are the widths {', '.join(f'{width:g}' for width in WIDTHS)}, "
            f"as {', '.join(map(str, WIDTHS[1.0]))} for 1"
        )
    outputs = _weight(found, "bu_dec_l4.merge_layer.3.weight").shape[0]
    with_background = outputs == CITYSCAPES_OUTPUTS and not (
        default is not None and default.num_classes == outputs
    )
    return Architecture(
        "espnetv2",
        _weight(found, "bu_br_l4.0.weight").shape[0],
        outputs - with_background,
        width=widths[0],
        projection=_weight(found, "bu_dec_l4.stages.0.weight").shape[0],
        idle_outputs=int(with_background),
    )


def _weight(found: UnwrappedCheckpoint, key: str) -> Tensor:
    if key not in found.state:
        raise StvmError(
            f"checkpoint {found.path} lacks {found.prefix}{key}: it is no whole ESPNetv2 of "
            "EdgeNets; download or copy it again"
        )
    return found.state[key]
