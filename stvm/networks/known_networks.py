"""The registry of networks: what settings and files have to know of each, without torch.

A network is a feature extractor F, a classifier C and a way to make heads like C. Here it is an
entry: its name, the function that builds it, and the plain facts on which other parts depend.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stvm.errors import unknown

WIDTHS = {
    0.5: (16, 32, 64, 128),
    1.0: (32, 64, 128, 256),
    1.25: (32, 80, 160, 320),
    1.5: (32, 96, 192, 384),
    2.0: (32, 128, 256, 512),
}
"""Widths of ESPNetv2, and the channels of its encoder at 1/2, 1/4, 1/8 and 1/16 for each."""


@dataclass(frozen=True)
class NetworkFacts:
    """A network, or a kind of networks, by name.

    Attributes:
        name: Value of the setting `network`; of a kind, its form, as in timm:NAME.
        about: Short text for people.
        builder: Function from an `Architecture` to a `SegmentationNetwork`, as MODULE:FUNCTION.
        needs_two_images: Whether its batch norm cannot take statistics from a batch of one image,
            because a layer pools each image to one value for each channel.
        classifier_norm: Whether its classifier has batch norm, or may have it.
        auxiliary: Whether a second classifier on layer 3 can be had.
        channels: Whether the setting `channels` counts.
        aspp_branches: Whether the setting `aspp_branches` counts.
        width: Whether the setting `network_width` counts.
        output_stride: Whether the setting `output_stride` counts.
        files: Files, below the place in the setting `network`, whose content is part of a trial's
            name; the empty text is the place itself.
        package: Package whose code builds it, beside torch; empty for the project's own code.
        tried: Whether only building and trying it shows what its batch norm needs.
        normalisation: Name in `stvm.networks.NORMALISATIONS`.
        family: Family of public checkpoints in whose layout it is exported; empty for none, or if
            the file's origin says it.
        initial: Forms of the backbone, names in `stvm.networks.FORMS`, from whose public weights
            it can start.
    """

    name: str
    about: str
    builder: str
    needs_two_images: bool = False
    classifier_norm: bool = False
    auxiliary: bool = False
    channels: bool = False
    aspp_branches: bool = False
    width: bool = False
    output_stride: bool = False
    files: tuple[str, ...] = ()
    package: str = ""
    tried: bool = False
    normalisation: str = "rgb_imagenet"
    family: str = ""
    initial: tuple[str, ...] = ()

    def find_builder(self) -> Callable[..., Any]:
        """The function that builds it; its module is imported here."""
        module, _, function = self.builder.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), function)
        return found


_ENTRIES = (
    NetworkFacts(
        *("small_deeplab", "network of the embedded benchmark, output stride 4"),
        builder="stvm.networks.build:small",
        channels=True,
    ),
    NetworkFacts(
        *("deeplabv2_resnet101", "DeepLabV2 of the adaptation papers, output stride 8"),
        builder="stvm.networks.build:deeplabv2",
        auxiliary=True,
        aspp_branches=True,
        normalisation="bgr_caffe",
        initial=("caffe", "torchvision", "torchvision_frozen", "v1c"),
    ),
    *(
        NetworkFacts(
            *(f"deeplabv3_{backbone}", f"torchvision's DeepLabV3, output stride {stride}"),
            builder="stvm.networks.torchvision_networks:torchvision_network",
            needs_two_images=True,
            classifier_norm=True,
            auxiliary=True,
            family="torchvision",
            package="torchvision",
            initial=initial,
        )
        for backbone, stride, initial in (
            ("resnet50", 8, ("torchvision",)),
            ("resnet101", 8, ("torchvision",)),
            ("mobilenet_v3_large", 16, ()),
        )
    ),
    *(
        NetworkFacts(
            *(f"fcn_{backbone}", "torchvision's FCN, output stride 8"),
            builder="stvm.networks.torchvision_networks:torchvision_network",
            classifier_norm=True,
            auxiliary=True,
            family="torchvision",
            package="torchvision",
            initial=("torchvision",),
        )
        for backbone in ("resnet50", "resnet101")
    ),
    NetworkFacts(
        *("lraspp_mobilenet_v3_large", "torchvision's LR-ASPP, output stride 8"),
        builder="stvm.networks.torchvision_networks:lraspp",
        classifier_norm=True,
        family="torchvision",
        package="torchvision",
    ),
    NetworkFacts(
        *("espnetv2", "ESPNetv2 for small computers, output stride 2"),
        builder="stvm.networks.espnetv2:espnetv2",
        classifier_norm=True,
        width=True,
        family="edgenets",
        initial=("espnetv2",),
    ),
)
NETWORKS = {entry.name: entry for entry in _ENTRIES}
"""Networks that are known by name."""

_KINDS = (
    (
        re.compile(r"timm:[\w.-]+"),
        NetworkFacts(
            *("timm:NAME", "a backbone of timm under the summed ASPP"),
            builder="stvm.networks.timm_networks:timm_network",
            package="timm",
            normalisation="own",
            initial=("timm",),
            output_stride=True,
            tried=True,
        ),
    ),
    (
        re.compile(r"segformer:.+"),
        NetworkFacts(
            *("segformer:FOLDER", "SegFormer of Hugging Face, output stride 4"),
            builder="stvm.networks.segformer:segformer",
            classifier_norm=True,
            package="transformers",
            normalisation="own",
            files=("config.json", "preprocessor_config.json"),
            tried=True,
        ),
    ),
    (
        re.compile(r".+\.py:[A-Za-z_]\w*"),
        NetworkFacts(
            *("FILE.py:FUNCTION", "a network of your own"),
            builder="stvm.networks.own_file:own_network",
            classifier_norm=True,
            normalisation="own",
            files=("",),
            tried=True,
        ),
    ),
)
"""Kinds of networks, whose names have a part that the user chooses."""


def files_of(name: str) -> list[Path]:
    """Files of the user from which a network is built, the first of which must be there."""
    facts = find_network(name)
    place = name.rpartition(":")[0] if facts.files == ("",) else name.partition(":")[2]
    return [Path(place) / inner for inner in facts.files]


def without_place(name: str) -> str:
    """The name without the folder of its file, which is no part of a trial's name."""
    facts = find_network(name)
    if facts.files == ("",):
        return f"own:{name.rpartition(':')[2]}"
    return name.partition(":")[0] if facts.files else name


def known_names() -> list[str]:
    """Values of the setting `network`, and the forms of those with a part to choose."""
    return [*NETWORKS, *(facts.name for _, facts in _KINDS)]


def find_network(name: str) -> NetworkFacts:
    """The entry of a network.

    Raises:
        StvmError: There is no such network; the message proposes the nearest name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    for pattern, facts in _KINDS:
        if pattern.fullmatch(name):
            return facts
    raise unknown("network", name, known_names())
