"""Detection of a checkpoint's family, heads, active branches, classes, backbone and input."""

import re
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from stvm.errors import StvmError
from stvm.networks import (
    FORMS,
    NORMALISATIONS,
    RESNET101,
    Architecture,
    Branches,
    ResNetSize,
    find_network,
)
from stvm.pretrained.aspp_branches import detect_active_branches
from stvm.pretrained.espnetv2_files import espnetv2_architecture
from stvm.pretrained.families import FAMILIES, LAYOUTS, Family
from stvm.pretrained.source_checkpoint import Checkpoint
from stvm.pretrained.torchvision_files import torchvision_architecture
from stvm.pretrained.unknown_networks import KNOWN, network_of, parts_beside, resnet_of
from stvm.pretrained.unwrapping import INITIAL, UnwrappedCheckpoint, unwrap

_BACKGROUND = ("the last output, background, is not used",)
_SAME = "their keys are alike, and their inputs are normalised differently"


def open_checkpoint(
    path: Path,
    family: str = "auto",
    branches: str = "auto",
    default: Architecture | None = None,
    size: ResNetSize = RESNET101,
) -> Checkpoint:
    """Read a file and detect its family and network; `Checkpoint.build` makes the network.

    Args:
        path: Path of the file.
        family: Name in `FAMILIES`, or "auto" to detect it.
        branches: Number of active branches, "two" or "four", or "auto" to detect it.
        default: Architecture for a file of this project that does not describe its network.
        size: Depth and width of a DeepLabV2's backbone.

    Raises:
        StvmError: The file cannot be read, or its network is unknown or ambiguous; the message
            names the setting that resolves it.
    """
    found = unwrap(path)
    if found.layout in ("unknown", "backbone"):
        raise StvmError(_no_source_model(found))
    if found.layout == "stvm":
        _refuse_family(found, family, ("stvm",))
        return Checkpoint("stvm", found, _own(found, default, branches), found.remarks, size)
    if found.layout == "torchvision":
        _refuse_family(found, family, ("torchvision",))
        return Checkpoint(
            "torchvision", found, torchvision_architecture(found), found.remarks, size
        )
    if found.layout == "espnetv2":
        _refuse_family(found, family, ("edgenets",))
        described = espnetv2_architecture(found, default)
        notes = (*found.remarks, *(_BACKGROUND * described.idle_outputs))
        return Checkpoint("edgenets", found, described, notes, size)
    return _deeplabv2(found, family, branches, size)


def _deeplabv2(
    found: UnwrappedCheckpoint, family: str, branches: str, size: ResNetSize
) -> Checkpoint:
    """A DeepLabV2 of a public family, with its number of active branches."""
    head, auxiliary = _heads(found)
    detected = (
        detect_active_branches(head) if len(head) == 4 else {2: "two"}.get(len(head), "unknown")
    )
    if detected == "unknown":
        raise StvmError(
            f"checkpoint {found.path}: the classifier {found.prefix}{LAYOUTS[found.layout].head}N "
            f"adds {len(head)} convolutions, whose rates are not known: DeepLabV2 has 4 or 2 of "
            "them"
        )
    name = _family(found, family, detected if branches == "auto" else branches)
    active_branches = _active_branches(found, name, detected, branches, len(head))
    architecture = Architecture(
        "deeplabv2_resnet101",
        head[0].shape[1],
        head[0].shape[0],
        bool(auxiliary),
        active_branches,
        len(head) == 4,
        _backbone(found, name),
        FAMILIES[name].normalisation,
    )
    notes = (*found.remarks, *_notes(detected, active_branches, auxiliary))
    return Checkpoint(name, found, architecture, notes, size)


def _no_source_model(found: UnwrappedCheckpoint) -> str:
    """Text on why a file holds no network to start from."""
    keys = [*found.state, *found.unexpected_keys]
    if found.layout == "unknown":
        name, first = network_of(keys) or "no network known here", ", ".join(keys[:3])
        return f"checkpoint {found.path} is of {name} (keys {first}, ...): {KNOWN}"
    root, resnet = found.prefix, resnet_of(found.state) or "a ResNet"
    plain = [root + key for key in found.state] + list(found.unexpected_keys)
    if name := network_of(plain):
        return f"checkpoint {found.path} is of {name}, on {resnet}: {KNOWN}"
    beside = "" if root.startswith(INITIAL) else parts_beside(plain, root)
    if beside:
        return (
            f"checkpoint {found.path} has {resnet} ({root}layer1...) and a classifier that is not "
            f"known ({beside}): {KNOWN}"
        )
    return (
        f"checkpoint {found.path} has a backbone ({root}layer1...) and no classifier "
        "(layer5, layer6, classifier or decode_head): it is no source model; "
        "train one from it with source_init"
    )


def _notes(detected: str, active_branches: Branches, auxiliary: list[Tensor]) -> tuple[str, ...]:
    notes = []
    if detected not in (active_branches, "none"):
        notes.append(f"against aspp_branches={active_branches}: the weights say {detected}")
    if detected == "none":
        notes.append("the classifier was never trained")
    if len(auxiliary) == 4 and detect_active_branches(auxiliary) == "none":
        notes.append("the auxiliary classifier was never trained")
    return tuple(notes)


def _own(
    found: UnwrappedCheckpoint, default: Architecture | None, branches: str
) -> Architecture | None:
    """Architecture that the file describes; if it does not, that of the settings."""
    if "network" not in found.metadata:
        if default is None or not find_network(default.network).aspp_branches:
            return default
        heads = [found.state.get(f"classifier.branches.{i}.weight") for i in range(4)]
        weights = [weight for weight in heads if weight is not None]
        detected = detect_active_branches(weights) if len(weights) == 4 else "contradictory"
        active_branches = _active_branches(found, "stvm", detected, branches, len(weights))
        has_auxiliary = any(key.startswith("auxiliary.") for key in found.state)
        return replace(default, aspp_branches=active_branches, auxiliary=has_auxiliary)
    try:
        described = Architecture.from_facts(found.metadata)
        FORMS[described.backbone], NORMALISATIONS[described.normalisation]
    except (KeyError, ValueError) as error:
        raise StvmError(
            f"checkpoint {found.path} is described by {error}, which is nothing known here: "
            "use the version of stvm that wrote it"
        ) from None
    if branches not in ("auto", described.aspp_branches):
        raise StvmError(
            f"checkpoint {found.path} was trained with aspp_branches={described.aspp_branches}: "
            f"leave out aspp_branches={branches}"
        )
    return described


def _refuse_family(found: UnwrappedCheckpoint, asked: str, possible: tuple[str, ...]) -> None:
    if asked != "auto" and asked not in possible:
        layouts = " or ".join(LAYOUTS[name].head + "N" for name in FAMILIES[asked].layouts)
        first = next(iter(found.state))
        raise StvmError(
            f"checkpoint {found.path} is none of checkpoint_family={asked}: it lacks {layouts} "
            f"and has {found.prefix}{first}; set checkpoint_family={possible[0]} or leave it out"
        )


def _family(found: UnwrappedCheckpoint, asked: str, branches: str) -> str:
    """The family asked for; if it is "auto", the one that layout and wrappers show."""
    possible = tuple(name for name, fam in FAMILIES.items() if found.layout in fam.layouts)
    if asked != "auto":
        _refuse_family(found, asked, possible)
        return asked
    if found.layout == "multi":
        if "best_MIou" in found.container:
            return "maxsquare"
        # They differ only in the active branches, which the weights show.
        return {"two": "adaptsegnet", "four": "advent"}.get(branches) or _ask_branches(found)
    if found.layout == "single":
        if found.prefix.endswith("backbone.model."):
            return "dasac"
        if found.container & {"ema_model", "pytorch-lightning_version"}:
            return "dacs"
    if found.layout == "split":
        if {"feature_extractor", "classifier"} <= found.container:
            return "fada"
        if any(key.endswith("num_batches_tracked") for key in found.state):
            return "tllib"
    if len(possible) == 1:
        return possible[0]
    raise StvmError(
        f"checkpoint {found.path} may be of {' or '.join(possible)}: {_SAME}; "
        f"set checkpoint_family to one of them"
    )


def _ask_branches(found: UnwrappedCheckpoint) -> str:
    raise StvmError(
        f"checkpoint {found.path}: its weights do not tell whether two or four of the rates 6, 12, "
        "18, 24 count; set aspp_branches=two (AdaptSegNet, MaxSquare, DACS) or four (ADVENT, CRST)"
    )


def _active_branches(
    found: UnwrappedCheckpoint, family: str, detected: str, asked: str, stored: int
) -> Branches:
    """Number of active branches: as asked, or as the weights show and the family's code agrees."""
    if asked == "four" and stored == 2:
        raise StvmError(
            f"checkpoint {found.path} has 2 convolutions in its classifier: leave out "
            "aspp_branches=four"
        )
    documented = FAMILIES[family].branches
    if asked == "auto":
        asked = documented or detected if detected == "none" else detected
        if documented and asked not in (documented, "contradictory"):
            raise StvmError(
                f"checkpoint {found.path}: checkpoint_family={family} adds {documented} of "
                f"the rates 6, 12, 18, 24, and the weights say that {asked} were trained: it is "
                f"of another family ({_families_that_add(found, asked)}), or set "
                f"aspp_branches={asked}"
            )
    if asked == "two":
        return "two"
    if asked != "four":
        _ask_branches(found)
    return "four"


def _families_that_add(found: UnwrappedCheckpoint, branches: str) -> str:
    """Families of the file's layout whose code sums this number of branches."""
    names = [
        name
        for name, family in FAMILIES.items()
        if found.layout in family.layouts and family.branches in (branches, None)
    ]
    return ", ".join(names) or "none has these keys"


def _heads(found: UnwrappedCheckpoint) -> tuple[list[Tensor], list[Tensor]]:
    """Weights of the branches of classifier and auxiliary classifier."""
    layout = LAYOUTS[found.layout]

    def of(prefix: str | None) -> list[Tensor]:
        pattern = re.compile(rf"^{re.escape(prefix or '-')}\d+{re.escape(layout.infix)}\.weight$")
        return [found.state[k] for k in sorted(filter(pattern.match, found.state))]

    head = of(layout.head)
    odd = [w for w in head if w.dim() != 4 or w.shape[2:] != (3, 3) or w.shape != head[0].shape]
    if not head or odd:
        shape = tuple(odd[0].shape) if odd else "no weight"
        raise StvmError(
            f"checkpoint {found.path}: the classifier {found.prefix}{layout.head}N is no sum of "
            f"3x3 convolutions ({shape}): DeepLabV2's is"
        )
    return head, of(layout.auxiliary)


def _backbone(found: UnwrappedCheckpoint, name: str) -> str:
    """Form of the backbone; its stem must be that of the family."""
    family: Family = FAMILIES[name]
    prefix = LAYOUTS[found.layout].backbone
    deep = prefix + "stem.0.weight" in found.state
    if deep != FORMS[family.backbone].deep_stem:
        kinds = ("plain stem (conv1.weight)", "deep stem (stem.0.weight)")
        raise StvmError(
            f"checkpoint {found.path} has a {kinds[deep]} where {name} has a {kinds[not deep]}: "
            "it is of none of the networks known here"
        )
    frozen = not any(key.endswith("num_batches_tracked") for key in found.state)
    return "torchvision_frozen" if family.backbone == "torchvision" and frozen else family.backbone
