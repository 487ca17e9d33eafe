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
from stvm.pretrained.asked_branches import active_branches, ask_branches
from stvm.pretrained.aspp_branches import detect_active_branches
from stvm.pretrained.espnetv2_files import espnetv2_architecture
from stvm.pretrained.families import FAMILIES, LAYOUTS, Family
from stvm.pretrained.own_weights import open_own_weights
from stvm.pretrained.segformer_files import is_segformer, segformer_checkpoint
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
    if default is not None and find_network(default.network).files == ("",):
        own = open_own_weights(path, default)
        if own is not None:
            return Checkpoint("stvm", own, default, own.remarks)
    found = unwrap(path)
    if found.layout == "unknown" and is_segformer(found):
        _refuse_family(found, family, ("transformers",))
        found, described = segformer_checkpoint(found)
        return Checkpoint("transformers", found, described, found.remarks, size)
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
    active = active_branches(found, name, detected, branches, len(head))
    architecture = Architecture(
        "deeplabv2_resnet101",
        head[0].shape[1],
        head[0].shape[0],
        bool(auxiliary),
        active,
        len(head) == 4,
        _backbone(found, name),
        FAMILIES[name].normalisation,
    )
    notes = (*found.remarks, *_notes(detected, active, auxiliary))
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
        active = active_branches(found, "stvm", detected, branches, len(weights))
        has_auxiliary = any(key.startswith("auxiliary.") for key in found.state)
        return replace(default, aspp_branches=active, auxiliary=has_auxiliary)
    try:
        described = Architecture.from_facts(found.metadata)
        FORMS[described.backbone], NORMALISATIONS[described.normalisation]
    except (KeyError, ValueError) as error:
        raise StvmError(
            f"checkpoint {found.path} is described by {error}, which is nothing known here: "
            "use the version of stvm that wrote it"
        ) from None
    if find_network(described.network).files == ("",):
        return _of_own_file(found, described, default)
    if branches not in ("auto", described.aspp_branches):
        raise StvmError(
            f"checkpoint {found.path} was trained with aspp_branches={described.aspp_branches}: "
            f"leave out aspp_branches={branches}"
        )
    return described


def _of_own_file(
    found: UnwrappedCheckpoint, described: Architecture, default: Architecture | None
) -> Architecture:
    """The network as the user names its file now: a file of weights runs no code by itself."""
    if default is None or find_network(default.network).files != ("",):
        raise StvmError(
            f"checkpoint {found.path} is of a network of your own, {described.network}: name it "
            "with network=FILE.py:FUNCTION"
        )
    return replace(described, network=default.network)


def _refuse_family(found: UnwrappedCheckpoint, asked: str, possible: tuple[str, ...]) -> None:
    if asked != "auto" and asked not in possible:
        heads = dict.fromkeys(LAYOUTS[name].head + "N" for name in FAMILIES[asked].layouts)
        layouts = " or ".join(heads)
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
        return {"two": "adaptsegnet", "four": "advent"}.get(branches) or ask_branches(found)
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
