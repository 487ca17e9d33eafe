"""The one state dict in a file, without its wrappers, and the layout of its keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stvm.errors import StvmError
from stvm.pretrained.families import LAYOUTS
from stvm.pretrained.nested_state import BLOCK, ESPNET, WRAPPERS, find_state
from stvm.pretrained.unknown_networks import FCN, network_of
from stvm.pretrained.weight_files import read_file

_OWN = re.compile(rf"^({WRAPPERS})features\.")
_OWN_HEADS = ("classifier.branches.", "classifier.0.convs.", "classifier.projection_layer.")
MOBILE = "backbone.1.block.0.0.weight"
"""A key of torchvision's MobileNetV3 in a segmentation network."""
INITIAL = "Scale."
"""Prefix in Pytorch-Deeplab's initialisation. Its classifier has other classes and is left out."""


@dataclass(frozen=True)
class UnwrappedCheckpoint:
    """A state dict without its wrappers.

    Attributes:
        path: Path of the file.
        state: State dict with the keys of the layout.
        layout: Name in `LAYOUTS`; "backbone" if no classifier is known, "unknown" if there is no
            ResNet either.
        prefix: Prefix that was removed from the keys.
        container: Names beside the state dict in the file.
        metadata: Metadata of a safetensors file; empty for other files.
        unexpected_keys: Keys without the prefix.
        remarks: Notes on other parts of the file, for people.
    """

    path: Path
    state: dict[str, Tensor]
    layout: str
    prefix: str
    container: frozenset[str]
    metadata: dict[str, str]
    unexpected_keys: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def unwrap(path: Path) -> UnwrappedCheckpoint:
    """Read a file and find the one network in it.

    A teacher beside the network is left out, as are optimisers and scores.

    Raises:
        StvmError: The file cannot be read, or holds no state dict or several networks.
    """
    content, metadata = read_file(path)
    container = frozenset(map(str, content)) if isinstance(content, Mapping) else frozenset()
    state, remarks = find_state(content, path)
    wrapped = next((m[1] for m in map(_OWN.match, state) if m), None)
    if "network" in metadata or wrapped is not None and _is_own(state, wrapped):
        prefix = wrapped or ""
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        return UnwrappedCheckpoint(path, state, "stvm", prefix, container, metadata, (), remarks)
    mobile = next((key for key in state if key.endswith(MOBILE)), "")
    if mobile and any(key.startswith(mobile.removesuffix(MOBILE) + "classifier.") for key in state):
        return _torchvision(path, state, mobile.removesuffix(MOBILE), container, remarks)
    roots = sorted({m[1] for form in (BLOCK, ESPNET) for m in map(form.match, state) if m})
    if not roots:
        return UnwrappedCheckpoint(path, state, "unknown", "", container, metadata, (), remarks)
    if len(roots) > 1:
        names = ", ".join(f"'{root}'" for root in roots[:4])
        raise StvmError(
            f"checkpoint {path} holds {len(roots)} networks, whose keys begin with {names}: "
            "save the one to start from alone"
        )
    layout, prefix = _layout(state, roots[0])
    plain = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    unexpected_keys = tuple(sorted(key for key in state if not key.startswith(prefix)))
    return UnwrappedCheckpoint(
        path, plain, layout, prefix, container, metadata, unexpected_keys, remarks
    )


def _torchvision(
    path: Path,
    state: Mapping[str, Tensor],
    prefix: str,
    container: frozenset[str],
    remarks: tuple[str, ...],
) -> UnwrappedCheckpoint:
    """A network of torchvision on MobileNet, whose backbone has no layer1."""
    plain = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    beside = tuple(sorted(key for key in state if not key.startswith(prefix)))
    return UnwrappedCheckpoint(path, plain, "torchvision", prefix, container, {}, beside, remarks)


def _is_own(state: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether the keys are this project's; other networks, such as VGG, have features too."""
    return any(key.removeprefix(prefix).startswith(_OWN_HEADS) for key in state)


def _layout(state: Mapping[str, Tensor], root: str) -> tuple[str, str]:
    """Name of the layout whose classifier occurs, and the prefix before it."""

    def has(start: str) -> bool:
        return any(key.startswith(start) for key in state)

    if any(map(ESPNET.match, state)):
        return "espnetv2", root
    if (name := network_of(state)) and name != FCN:
        return "backbone", root
    for name in ("split", "mmseg", "torchvision"):
        layout = LAYOUTS[name]
        outer = root.removesuffix(layout.backbone)
        if root.endswith(layout.backbone) and has(outer + layout.head):
            return name, outer
    if root.startswith(INITIAL):
        return "backbone", root
    main, other = (has(root + LAYOUTS["multi"].head), has(root + LAYOUTS["single"].head))
    if main:
        return ("multi" if other else "main"), root
    return ("single" if other else "backbone"), root
