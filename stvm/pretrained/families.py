"""The families of public checkpoints: names of keys, backbone, input, and which rates count.

Weights of one family fit the network of another without a complaint and score a few points less:
what the keys do not tell stands here, from the code that wrote the files.
"""

from dataclasses import dataclass

from stvm.networks import Branches


@dataclass(frozen=True)
class KeyLayout:
    """Names of keys in a state dict, below the prefix that the wrappers left.

    Attributes:
        backbone: what precedes the backbone's own names.
        head: what precedes the number of a branch of the classifier, or the classifier's names.
        auxiliary: the same of the classifier on layer 3; None where there is none.
        infix: what follows the number of a branch.
    """

    backbone: str
    head: str
    auxiliary: str | None = None
    infix: str = ""


LAYOUTS = {
    "multi": KeyLayout("", "layer6.conv2d_list.", "layer5.conv2d_list."),
    "single": KeyLayout("", "layer5.conv2d_list."),
    "main": KeyLayout("", "layer6.conv2d_list."),
    "split": KeyLayout("backbone.", "classifier.conv2d_list."),
    "mmseg": KeyLayout("backbone.", "decode_head.aspp_modules.", infix=".conv"),
    "torchvision": KeyLayout("backbone.", "classifier.", "aux_classifier."),
    "stvm": KeyLayout("features.", "classifier.branches.", "auxiliary.branches."),
}


@dataclass(frozen=True)
class Family:
    """What wrote a checkpoint.

    Attributes:
        about: whose code, for people.
        layouts: names in `LAYOUTS` that it writes.
        backbone: DeepLabV2: a name in `stvm.networks.FORMS`.
        normalisation: a name in `stvm.networks.NORMALISATIONS`.
        branches: how many rates of DeepLabV2 its code adds; None where it has both.
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
    "stvm": Family("this project", ("stvm",), "caffe", "bgr_caffe", None),
}
"""By the name that the setting checkpoint_family takes."""


def public_name(own: str, layout: KeyLayout, torchvision: bool = False) -> str:
    """The key of a layout for a key of `SegmentationNetwork`; no two have the same.

    Args:
        own: of the state dict of a network here.
        layout: to name it in.
        torchvision: the network is torchvision's, whose heads keep their own names.
    """
    part, _, rest = own.partition(".")
    if part == "features":
        return layout.backbone + (rest.removeprefix("backbone.") if torchvision else rest)
    prefix = layout.head if part == "classifier" else layout.auxiliary
    assert prefix is not None, own
    if torchvision:
        return prefix + rest
    _, number, value = rest.split(".")
    return f"{prefix}{number}{layout.infix}.{value}"
