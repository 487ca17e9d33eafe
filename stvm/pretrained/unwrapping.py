"""From what a file holds to one state dict, and how its keys are named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stvm.errors import StvmError
from stvm.pretrained.families import LAYOUTS
from stvm.pretrained.reading import read_file

_NESTS = ("state_dict", "model")
_TEACHERS = re.compile(r"^(module\.)?(slow_net|ema_model|imnet_model|imnet_ema_model)\.")
_BESIDE = re.compile(r"^(module\.)?(running_conf|slow_init)$")
"""Keys of da-sac that are no network's."""
_BLOCK = re.compile(r"^(.*?)layer[1-4]\.\d+\.conv[123]\.weight$")
_OWN = "features."
_INITIAL = "Scale."
"""Of Pytorch-Deeplab's initialisation, whose classifier is of other classes and left out."""


@dataclass(frozen=True)
class Found:
    """A state dict without its wrappers.

    Attributes:
        path: of the file.
        state: keys as the layout has them.
        layout: a name in `LAYOUTS`; "backbone" where there is no classifier.
        prefix: taken off the keys.
        container: names beside the state dict in the file.
        metadata: of a safetensors file.
        strangers: keys that begin otherwise.
    """

    path: Path
    state: dict[str, Tensor]
    layout: str
    prefix: str
    container: frozenset[str]
    metadata: dict[str, str]
    strangers: tuple[str, ...] = ()


def unwrap(path: Path) -> Found:
    """Read a file and find the one network in it.

    A teacher beside the network is left out, as are optimisers and scores.

    Raises:
        StvmError: unreadable, no state dict, or several networks.
    """
    content, metadata = read_file(path)
    container = frozenset(map(str, content)) if isinstance(content, Mapping) else frozenset()
    state = _flat(content, path)
    student = {k: v for k, v in state.items() if not _TEACHERS.match(k)} or state
    student = {k: v for k, v in student.items() if not _BESIDE.match(k)}
    roots = sorted({m[1] for m in map(_BLOCK.match, student) if m})
    if not roots or any(key.startswith(_OWN) for key in student):
        return Found(path, student, "stvm", "", container, metadata)
    if len(roots) > 1:
        names = ", ".join(f"'{root}'" for root in roots[:4])
        raise StvmError(
            f"checkpoint {path} holds {len(roots)} networks, whose keys begin with {names}: "
            "save the one to start from alone"
        )
    layout, prefix = _layout(student, roots[0])
    plain = {k.removeprefix(prefix): v for k, v in student.items() if k.startswith(prefix)}
    strangers = tuple(sorted(key for key in student if not key.startswith(prefix)))
    return Found(path, plain, layout, prefix, container, metadata, strangers)


def _flat(content: Any, path: Path) -> dict[str, Tensor]:
    """One dictionary of tensors out of nested ones."""
    if isinstance(content, Mapping):
        parts = [content.get(name) for name in ("feature_extractor", "classifier")]
        if all(isinstance(part, Mapping) for part in parts):
            extractor, classifier = (_without(part, "module.") for part in parts)
            content = extractor | {f"classifier.{k}": v for k, v in classifier.items()}
        for name in _NESTS:
            if isinstance(content.get(name), Mapping):
                content = content[name]
    tensors = isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values())
    if not tensors or not content:
        raise StvmError(f"checkpoint {path} is not a state dict: save network.state_dict()")
    return {str(key): value for key, value in content.items()}


def _without(part: Any, prefix: str) -> dict[str, Any]:
    return {str(key).removeprefix(prefix): value for key, value in part.items()}


def _layout(state: Mapping[str, Tensor], root: str) -> tuple[str, str]:
    """Name of the layout whose classifier is there, and the prefix before it."""

    def has(start: str) -> bool:
        return any(key.startswith(start) for key in state)

    for name in ("split", "mmseg", "torchvision"):
        layout = LAYOUTS[name]
        outer = root.removesuffix(layout.backbone)
        if root.endswith(layout.backbone) and has(outer + layout.head):
            return name, outer
    if root.startswith(_INITIAL):
        return "backbone", root
    main, other = (has(root + LAYOUTS["multi"].head), has(root + LAYOUTS["single"].head))
    if main:
        return ("multi" if other else "main"), root
    return ("single" if other else "backbone"), root
