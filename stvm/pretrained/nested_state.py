"""The one state dict in the content of a file, under any name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stvm.errors import StvmError

State = dict[str, Tensor]
BLOCK = re.compile(r"^(.*?)layer[1-4]\.\d+\.conv[123]\.weight$")
"""Key of a convolution in a block of a ResNet; group 1 is its prefix."""
ESPNET = re.compile(r"^(.*?)base_net\.level2_0\.eesp\.")
"""Key of the first unit of an ESPNetv2 for segmentation; group 1 is its prefix."""
WRAPPERS = r"(?:module\.|_orig_mod\.|model\.)*"
"""Prefixes that DataParallel, torch.compile and Lightning put before every key."""
_DEEPEST = 4
_NO_NETWORK = re.compile(
    r"^(opt$|optim|opt_|lr_|.*optimi[sz]er|sched|.*scaler|callbacks|loops|hyper_|meta$|"
    r"message_hub|config|cfg|args|history|rng)",
    re.IGNORECASE,
)
_AVERAGED = re.compile(r"(^|[._])(ema|teacher|averaged|slow|shadow|swa)($|[._])", re.IGNORECASE)
_TEACHER_KEYS = re.compile(
    rf"^{WRAPPERS}(slow_net|ema_model|imnet_model|imnet_ema_model|model_ema|ema_net|ema|teacher|"
    r"teacher_model|mean_teacher|averaged_model)\."
)
_MMCV_KEYS = re.compile(rf"^{WRAPPERS}ema_\w+$")
"""mmcv's hook keeps an average of a.b.weight as ema_a_b_weight."""
_BESIDE = re.compile(rf"^{WRAPPERS}(running_conf|slow_init|n_averaged|steps)$")
"""Keys of da-sac and of the averages of torch and mmengine that do not belong to a network."""


@dataclass(frozen=True)
class Nest:
    """A state dict in a file.

    Attributes:
        at: Names that lead to it in the file.
        state: Its tensors by key.
    """

    at: tuple[str, ...]
    state: State

    @property
    def name(self) -> str:
        """The names that lead to it, for people."""
        return ".".join(self.at)

    @property
    def known(self) -> bool:
        """Whether it holds a ResNet, an ESPNetv2, or features named as in this project."""
        return any(
            BLOCK.match(key) or ESPNET.match(key) or re.match(rf"{WRAPPERS}features\.", key)
            for key in self.state
        )


def find_state(content: Any, path: Path) -> tuple[State, tuple[str, ...]]:
    """The network to start from, and notes on other networks in the file.

    A teacher or an average beside the network is left out, and so are optimisers and scores. If
    there is only an average, it is taken as the network.

    Raises:
        StvmError: There is no state dict, or there are several networks.
    """
    found = list(_nests(_joined(content)))
    if not found:
        raise StvmError(f"checkpoint {path} {_nothing(content)}")
    own = [nest for nest in found if not any(map(_AVERAGED.search, nest.at))]
    known = [nest for nest in own if nest.known] or [nest for nest in found if nest.known]
    if len(known) > 1:
        names = ", ".join(f"'{nest.name}'" for nest in known[:4])
        raise StvmError(
            f"checkpoint {path} holds {len(known)} networks, under {names}: save the one to start "
            "from alone"
        )
    nest = known[0] if known else max(own or found, key=lambda nest: len(nest.state))
    state = {k: v for k, v in nest.state.items() if not _BESIDE.match(k)}
    student = {k: v for k, v in state.items() if not _TEACHER_KEYS.match(k)}
    student = {k: v for k, v in student.items() if not _MMCV_KEYS.match(k)} or state
    remarks = []
    if nest not in own:
        remarks.append(f"the weights under '{nest.name}', an average: there are no others")
    others = [n.name for n in found if n is not nest and n.known]
    if len(student) < len(state):
        others += sorted({_root(k) for k in state.keys() - student.keys()})[:2]
    if others:
        remarks.append(f"left out: {', '.join(others)}")
    return student, tuple(remarks)


def _root(key: str) -> str:
    return "keys ema_..." if _MMCV_KEYS.match(key) else re.sub(r"^module\.", "", key).split(".")[0]


def _joined(content: Any) -> Any:
    """The content with the two parts of FADA's network joined to one state dict."""
    if not isinstance(content, Mapping):
        return content
    names = ("feature_extractor", "classifier")
    parts = [content.get(name) for name in names]
    if not all(isinstance(part, Mapping) for part in parts):
        return content
    extractor, classifier = (_without(part, "module.") for part in parts)
    rest = {k: v for k, v in content.items() if k not in names}
    whole = extractor | {f"classifier.{k}": v for k, v in classifier.items()}
    return rest | {"state_dict": whole}


def _without(part: Any, prefix: str) -> dict[str, Any]:
    return {str(key).removeprefix(prefix): value for key, value in part.items()}


def _nests(content: Any, at: tuple[str, ...] = ()) -> Iterator[Nest]:
    """Every dictionary that holds tensors, the outer ones first."""
    if len(at) > _DEEPEST or _is_optimiser(content):
        return
    if isinstance(content, Mapping):
        own = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if own:
            yield Nest(at, own)
        parts = [(str(k), v) for k, v in content.items() if not _NO_NETWORK.match(str(k))]
    elif isinstance(content, list | tuple):
        parts = [(str(number), value) for number, value in enumerate(content)]
    else:
        return
    for name, part in parts:
        yield from _nests(part, (*at, name))


def _is_optimiser(content: Any) -> bool:
    return isinstance(content, Mapping) and {"state", "param_groups"} <= set(map(str, content))


def _nothing(content: Any) -> str:
    """Text on the content of a file without a state dict, and what to do."""
    mend = "save network.state_dict() with torch.save"
    if isinstance(content, Tensor):
        return f"is not a state dict but one tensor of {tuple(content.shape)}: {mend}"
    if _is_optimiser(content):
        return f"is not a state dict of a network but of an optimiser: {mend}"
    if isinstance(content, Mapping) and content:
        names = list(map(str, content))
        if any(map(_NO_NETWORK.match, names)):
            return (
                f"is not a state dict: beside optimiser and the like there are no weights in it "
                f"({', '.join(names[:4])}); {mend}"
            )
        return f"is not a state dict: no tensor under {', '.join(names[:3])}; {mend}"
    return f"is not a state dict but {_kind(content)}: {mend}"


def _kind(content: Any) -> str:
    empty = "an empty" if hasattr(content, "__len__") and not len(content) else "a"
    return f"{empty} value of type {type(content).__name__}"
