"""Builds a new source model from the settings, or reads one from a file and checks it."""

from dataclasses import replace
from pathlib import Path

import torch

from stvm.data.correspondence import Correspondence, find_correspondence
from stvm.data.datasets import labelling_of
from stvm.errors import StvmError
from stvm.files import file_sha256
from stvm.networks import Architecture, SegmentationNetwork, assemble, find_network
from stvm.networks.known_networks import without_place
from stvm.pretrained import Checkpoint, open_backbone, open_checkpoint
from stvm.pretrained.backbone import ESPNETV2
from stvm.pretrained.timm_files import load_timm
from stvm.settings import NetworkSettings, Settings
from stvm.settings.presets import NETWORKS
from stvm.source_model.location import known_source_classes


def new_network(settings: Settings) -> SegmentationNetwork:
    """A network for the classes of the settings' source images or checkpoint, on the CPU.

    The weights are random. With source_init the weights of the backbone come from that file, which
    also determines the form of the backbone and the normalisation of its input.

    Raises:
        StvmError: An initialisation that cannot be read or does not fit.
    """
    start = settings.source.source_init
    described = described_by(settings, num_source_classes(settings))
    if not start:
        return assemble(described)
    forms = find_network(described.network).initial
    if forms == ("timm",):
        network = assemble(described)
        load_timm(Path(start), network)
        return network
    if not forms:
        raise StvmError(
            f"source_init={start}: {described.network} has no public weights; leave it out"
        )
    backbone = open_backbone(Path(start), settings.source.checkpoint_family)
    if backbone.form not in forms:
        theirs = "an ESPNetv2" if backbone.form == ESPNETV2 else "a ResNet"
        if (described.network == ESPNETV2) != (backbone.form == ESPNETV2):
            raise StvmError(
                f"source_init={start} is {theirs}, and the settings are of {described.network}: "
                "use an initialisation of that network"
            )
        raise StvmError(
            f"source_init={start} is a backbone of the form {backbone.form}: {described.network} "
            f"takes {' or '.join(forms)}'s weights"
        )
    form = described.backbone if backbone.form == ESPNETV2 else backbone.form
    network = assemble(replace(described, backbone=form, normalisation=backbone.normalisation))
    backbone.load(network)
    return network


def open_source_model(settings: Settings, path: Path) -> Checkpoint:
    """A file of weights, after a check that it fits the settings' network and classes.

    The file determines classes, branches, auxiliary classifier and normalisation of the network.

    Raises:
        StvmError: The file is unreadable, holds another network or classes that do not correspond
            to the target's, or lacks a classifier that the settings ask for.
    """
    asked = settings.network
    checkpoint = open_checkpoint(
        path,
        settings.source.checkpoint_family,
        asked.aspp_branches,
        described_by(settings, num_source_classes(settings)),
    )
    described = checkpoint.architecture
    if described is None:
        return checkpoint
    if without_place(described.network) != without_place(asked.network):
        raise StvmError(
            f"checkpoint {path} is of {described.network}, and the settings are of "
            f"{asked.network}: {_choose(described.network)}"
        )
    correspondence_of(settings, checkpoint)
    if asked.auxiliary and not described.auxiliary:
        raise StvmError(
            f"checkpoint {path} has no auxiliary classifier on layer 3: leave out auxiliary=true"
        )
    _refuse_other_sizes(described, asked, path)
    if find_network(asked.network).channels:
        # With the settings' channels, weights of another width are refused by their keys.
        return replace(checkpoint, architecture=replace(described, channels=asked.channels))
    return checkpoint


def _refuse_other_sizes(described: Architecture, asked: NetworkSettings, path: Path) -> None:
    if described.output_stride not in (0, asked.output_stride):
        raise StvmError(
            f"checkpoint {path} is of output_stride={described.output_stride}, and the settings "
            f"are of {asked.output_stride}: set output_stride={described.output_stride}"
        )
    if described.width != asked.network_width:
        raise StvmError(
            f"checkpoint {path} is of width {described.width:g}, and the settings are of width "
            f"{asked.network_width:g}: set network_width={described.width:g}"
        )


def correspondence_of(settings: Settings, checkpoint: Checkpoint) -> Correspondence:
    """The correspondence of a source model's classes to the target's.

    Raises:
        StvmError: Classes that do not correspond, or a class map that does not fit them.
    """
    described = checkpoint.architecture
    count = described.num_classes if described else num_source_classes(settings)
    which = f"checkpoint {checkpoint.found.path}"
    return find_correspondence(
        settings.data, which, count, checkpoint.class_names, checkpoint.family
    )


def num_source_classes(settings: Settings) -> int:
    """Number of the source model's classes, as far as the settings tell."""
    return len(known_source_classes(settings)) or labelling_of(settings.data).num_classes


def _choose(network: str) -> str:
    """Advice on how to choose a network: an option of scenarios, a preset, or a setting."""
    short = {full: name for name, full in NETWORKS.items()}.get(network)
    scenario = (
        f"--network {short} of studies/scenarios.py, a preset in -{short}, or " if short else ""
    )
    return f"take {scenario}network={network}"


def load_source(settings: Settings, path: Path, device: torch.device) -> SegmentationNetwork:
    """A source model from a file, in eval mode.

    Raises:
        StvmError: A fault that `open_source_model` raises, or weights that do not fit; the message
            names the keys.
    """
    return open_source_model(settings, path).build().to(device)


def source_facts(checkpoint: Checkpoint) -> dict[str, str | int | float | bool]:
    """Entries of a record about the source model, except its score."""
    found = checkpoint.found
    facts = {"sha256": file_sha256(found.path)} | checkpoint.facts()
    kept = {name: found.metadata.get(name, "") for name in ("origin", "init_sha256")}
    return facts | {name: value for name, value in kept.items() if value not in ("", "stvm")}


def described_by(settings: Settings, num_classes: int) -> Architecture:
    """Architecture that the settings alone describe."""
    network, facts = settings.network, find_network(settings.network.network)
    return Architecture(
        network.network,
        network.channels,
        num_classes,
        network.auxiliary,
        "two" if network.aspp_branches == "two" else "four",
        normalisation=facts.normalisation,
        width=network.network_width,
        output_stride=network.output_stride if facts.output_stride else 0,
        content=network.network_content if facts.files == ("",) else "",
    )
