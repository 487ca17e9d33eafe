"""SegFormer's weights in a folder of Hugging Face."""

from dataclasses import replace
from typing import Any

from stvm.errors import StvmError, one_line
from stvm.networks import Architecture, SegmentationNetwork, assemble
from stvm.networks.label_names import class_names_of
from stvm.networks.segformer import import_segformer, read_description
from stvm.networks.weights import faults
from stvm.pretrained.fitting import refuse_non_finite
from stvm.pretrained.unwrapping import UnwrappedCheckpoint

_LAST = "decode_head.classifier.weight"


def is_segformer(found: UnwrappedCheckpoint) -> bool:
    """Whether the file has the keys of a whole SegFormer, and its config.json beside it."""
    keys = found.state
    beside = (found.path.parent / "config.json").is_file()
    return beside and _LAST in keys and any(key.startswith("segformer.") for key in keys)


def segformer_checkpoint(
    found: UnwrappedCheckpoint,
) -> tuple[UnwrappedCheckpoint, Architecture]:
    """The file with the class names of its folder, and its network.

    Raises:
        StvmError: config.json is unreadable or of another network.
    """
    folder = found.path.parent
    classes = int(found.state[_LAST].shape[0])
    names = class_names_of(folder)
    metadata = {"class_names": "\n".join(names)} if len(names) == classes else {}
    described = Architecture(
        f"segformer:{folder}", 0, classes, normalisation="own", config=read_description(folder)
    )
    return replace(found, layout="segformer", metadata=metadata), described


def build_segformer(found: UnwrappedCheckpoint, architecture: Architecture) -> SegmentationNetwork:
    """The network with the weights of the file; transformers knows names of earlier versions.

    Raises:
        StvmError: Keys are missing, unexpected or of another shape, or weights are not finite.
    """
    refuse_non_finite(found.path, found.state)
    network = assemble(architecture)
    theirs = import_segformer()
    encoder = network.features.get_submodule("encoder")
    head: Any = network.classifier.get_submodule("head")
    config = head.config
    try:
        whole, told = theirs.SegformerForSemanticSegmentation.from_pretrained(
            None, config=config, state_dict=dict(found.state), output_loading_info=True
        )
    except Exception as error:  # whatever other shapes lead the library to
        raise StvmError(
            f"checkpoint {found.path} does not fit its config.json: {one_line(error)}"
        ) from None
    wrong = [
        f"{len(keys)} {what} ({', '.join(sorted(map(str, keys))[:3])})"
        for what, keys in (
            ("missing", told["missing_keys"]),
            ("unexpected", told["unexpected_keys"]),
            ("of another shape", told["mismatched_keys"]),
        )
        if keys
    ]
    for own, read in (
        (encoder, whole.segformer),
        (head, whole.decode_head),
    ):
        wrong += filter(None, [faults(own.state_dict(), read.state_dict())])
    if wrong:
        raise StvmError(
            f"checkpoint {found.path} does not fit its config.json: keys {'; '.join(wrong)}"
        )
    encoder.load_state_dict(whole.segformer.state_dict())
    head.load_state_dict(whole.decode_head.state_dict())
    return network
