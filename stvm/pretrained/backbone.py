"""Weights of a backbone or of all of F, from which source training starts."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import Architecture, SegmentationNetwork, find_network
from stvm.networks.weights import faults
from stvm.pretrained.detection import open_checkpoint
from stvm.pretrained.families import LAYOUTS
from stvm.pretrained.fitting import refuse_non_finite
from stvm.pretrained.unknown_networks import network_of
from stvm.pretrained.unwrapping import UnwrappedCheckpoint, unwrap

ESPNETV2 = "espnetv2"
_HEADS = ("fc.", "layer5.", "layer6.")


@dataclass(frozen=True)
class Backbone:
    """Weights of a feature extractor and the form in which they were trained.

    Attributes:
        path: Path of the file.
        state: State dict with the keys of torchvision, mmsegmentation or EdgeNets.
        form: Name in `stvm.networks.FORMS`; "espnetv2" for encoder and decoder of one.
        normalisation: Name in `stvm.networks.NORMALISATIONS`.
        width: Width of an ESPNetv2; 0 for others.
    """

    path: Path
    state: dict[str, Tensor]
    form: str
    normalisation: str
    width: float = 0.0

    def load(self, network: SegmentationNetwork) -> None:
        """Load the weights into the network's feature extractor, all or none.

        Raises:
            StvmError: Another width, or keys are missing, unexpected or of another shape.
        """
        asked = network.architecture.width
        if self.width not in (0, asked):
            raise StvmError(
                f"source_init={self.path} is of width {self.width:g}, and the settings are of "
                f"width {asked:g}: set network_width={self.width:g}, or name a file of width "
                f"{asked:g}"
            )
        facts = find_network(network.architecture.network)
        prefix = "backbone." if facts.family == "torchvision" else ""
        own = {k.removeprefix(prefix): v for k, v in network.features.state_dict().items()}
        state = dict(self.state)
        for name, value in own.items():
            if name.endswith("num_batches_tracked"):
                state.setdefault(name, torch.zeros_like(value))
        wrong = faults(own, state)
        if wrong:
            whose = "F" if self.form == ESPNETV2 else "the backbone"
            raise StvmError(
                f"source_init={self.path} does not fit {whose} of "
                f"{network.architecture.network}: keys {wrong}"
            )
        network.features.load_state_dict({prefix + name: value for name, value in state.items()})


def open_backbone(path: Path, family: str = "auto") -> Backbone:
    """Read an initialisation, or the backbone of a whole checkpoint.

    It knows torchvision's ImageNet files, Pytorch-Deeplab's (keys begin with Scale.),
    mmsegmentation's ResNetV1c, and every checkpoint that `open_checkpoint` knows. Of an ESPNetv2 it
    takes encoder and decoder, all that does not depend on the number of classes.

    Args:
        path: Path of the file.
        family: Family of a whole checkpoint, or "auto".

    Raises:
        StvmError: The file cannot be read, or its form is ambiguous.
    """
    found = unwrap(path)
    if found.layout == "unknown":
        raise StvmError(
            f"source_init={path} holds no ResNet or ESPNetv2 but "
            f"{network_of(found.state) or 'other keys'} ({', '.join(list(found.state)[:3])}): use "
            "an initialisation of one"
        )
    if found.layout == "backbone":
        form, normalisation = _form(found)
        state = found.state
    else:
        architecture = open_checkpoint(path, family).architecture
        facts = find_network(architecture.network) if architecture else None
        if architecture is None or facts is None or not facts.initial:
            raise StvmError(
                f"source_init={path} holds no ResNet or ESPNetv2: use an initialisation of one"
            )
        if architecture.network == ESPNETV2:
            return _espnetv2(found, architecture)
        prefix = LAYOUTS[found.layout].backbone
        if found.layout == "stvm" and facts.family == "torchvision":
            prefix += "backbone."
        state = {k.removeprefix(prefix): v for k, v in found.state.items() if k.startswith(prefix)}
        form, normalisation = architecture.backbone, architecture.normalisation
        if facts.family == "torchvision":
            form = "torchvision"
    state = {k: v for k, v in state.items() if not k.startswith(_HEADS)}
    refuse_non_finite(path, state)
    return Backbone(path, state, form, normalisation)


def _espnetv2(found: UnwrappedCheckpoint, architecture: Architecture) -> Backbone:
    """Encoder and decoder of a file in EdgeNets' layout or in this project's."""
    layout = LAYOUTS[found.layout]
    classifier = "classifier." if found.layout == "stvm" else layout.head
    state = {
        key.removeprefix(layout.backbone): value
        for key, value in found.state.items()
        if not key.startswith(classifier)
    }
    refuse_non_finite(found.path, state, found.prefix)
    return Backbone(found.path, state, ESPNETV2, architecture.normalisation, architecture.width)


def _form(found: UnwrappedCheckpoint) -> tuple[str, str]:
    if found.prefix.startswith("Scale."):
        return "caffe", "bgr_caffe"
    if "stem.0.weight" in found.state:
        return "v1c", "rgb_imagenet"
    if "fc.weight" in found.state:
        return "torchvision", "rgb_imagenet"
    raise StvmError(
        f"source_init={found.path} may be of Caffe or of torchvision, whose keys are alike: use "
        "torchvision's own file, with its fc.weight, or Pytorch-Deeplab's, whose keys begin with "
        "Scale."
    )
