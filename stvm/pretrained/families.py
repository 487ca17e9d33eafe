"""The families of public checkpoints: key names, backbone, input and active branches.

Weights of one family load into the network of another without an error, and score a few points
less. This table holds the facts that the keys do not tell; they come from the code that wrote the
files.
"""

from dataclasses import dataclass

from stvm.networks import Branches


@dataclass(frozen=True)
class KeyLayout:
    """Names of keys in a state dict, without the prefix of the wrappers.

    Attributes:
        backbone: Prefix of the backbone's names.
        head: Prefix of the classifier's names, up to the number of a branch.
        auxiliary: Prefix of the names of the classifier on layer 3; None if there is none.
        infix: Text after the number of a branch.
        branches: Whether the classifier is a list of branches; if not, its names stay as they are.
    """

    backbone: str
    head: str
    auxiliary: str | None = None
    infix: str = ""
    branches: bool = True


LAYOUTS = {
    "multi": KeyLayout("", "layer6.conv2d_list.", "layer5.conv2d_list."),
    "single": KeyLayout("", "layer5.conv2d_list."),
    "main": KeyLayout("", "layer6.conv2d_list."),
    "split": KeyLayout("backbone.", "classifier.conv2d_list."),
    "mmseg": KeyLayout("backbone.", "decode_head.aspp_modules.", infix=".conv"),
    "torchvision": KeyLayout("backbone.", "classifier.", "aux_classifier."),
    "espnetv2": KeyLayout("", "bu_dec_l4.", branches=False),
    "segformer": KeyLayout("segformer.", "decode_head.", branches=False),
    "stvm": KeyLayout("features.", "classifier.branches.", "auxiliary.branches."),
}


@dataclass(frozen=True)
class Family:
    """The code that wrote a checkpoint.

    Attributes:
        about: Name of the code, for people.
        layouts: Names in `LAYOUTS` that the code writes.
        backbone: Form of DeepLabV2's backbone, a name in `stvm.networks.FORMS`.
        normalisation: Name in `stvm.networks.NORMALISATIONS`.
        branches: Number of branches of DeepLabV2 that the code sums; None if both occur.
    """

    about: str
    layouts: tuple[str, ...]
    backbone: str
    normalisation: str
    branches: Branches | None


FAMILIES = {
    "adaptsegnet": Family("AdaptSegNet", ("multi", "single"), "caffe", "bgr_caffe", "two"),
    "maxsquare": Family("MaxSquare, URMA", ("multi",), "caffe", "bgr_caffe", "two"),
    "advent": Family("ADVENT, IAPC, HCL", ("multi", "main"), "caffe", "bgr_caffe", "four"),
    "crst": Family("CRST", ("single",), "caffe", "bgr_imagenet", "four"),
    "dacs": Family("DACS, CROTS", ("single",), "caffe", "bgr_caffe", "two"),
    "fada": Family("FADA, DT-ST, SND, DSU", ("split",), "torchvision", "rgb_imagenet", "four"),
    "dasac": Family("da-sac", ("single",), "caffe", "rgb_imagenet", "four"),
    "tllib": Family("TLlib", ("split",), "caffe", "bgr_caffe", "four"),
    "mmseg": Family("mmsegmentation, DAFormer", ("mmseg",), "v1c", "rgb_imagenet", None),
    "torchvision": Family("torchvision", ("torchvision",), "", "rgb_imagenet", None),
    "transformers": Family("Hugging Face's SegFormer", ("segformer",), "", "own", None),
    "edgenets": Family("EdgeNets", ("espnetv2",), "", "rgb_imagenet", None),
    "stvm": Family("this project", ("stvm",), "caffe", "bgr_caffe", None),
}
"""Families by name, which is a value of the setting checkpoint_family."""


def public_name(own: str, layout: KeyLayout, torchvision: bool = False) -> str:
    """The key of a layout for a key of `SegmentationNetwork`; no two have the same.

    Args:
        own: Key in the state dict of a `SegmentationNetwork`.
        layout: Layout of the returned key.
        torchvision: Whether the network is torchvision's, whose heads keep their own names.
    """
    part, _, rest = own.partition(".")
    if part == "features":
        return layout.backbone + (rest.removeprefix("backbone.") if torchvision else rest)
    prefix = layout.head if part == "classifier" else layout.auxiliary
    assert prefix is not None, own
    if torchvision or not layout.branches:
        return prefix + rest
    _, number, value = rest.split(".")
    return f"{prefix}{number}{layout.infix}.{value}"
