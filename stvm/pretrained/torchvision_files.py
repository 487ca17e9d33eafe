"""torchvision's files of whole segmentation networks."""

from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import Architecture
from stvm.pretrained.unwrapping import UnwrappedCheckpoint


def torchvision_architecture(found: UnwrappedCheckpoint) -> Architecture:
    """torchvision's DeepLabV3, with an auxiliary classifier if the file has one.

    Raises:
        StvmError: The file lacks a key by which the network is known.
    """
    classes = _weight(found, "classifier.4.weight").shape[0]
    auxiliary = any(key.startswith("aux_classifier.") for key in found.state)
    return Architecture("deeplabv3_resnet50", 2048, classes, auxiliary)


def _weight(found: UnwrappedCheckpoint, key: str) -> Tensor:
    if key not in found.state:
        raise StvmError(
            f"checkpoint {found.path} lacks {found.prefix}{key}: it is no deeplabv3_resnet50 of "
            "torchvision"
        )
    return found.state[key]
