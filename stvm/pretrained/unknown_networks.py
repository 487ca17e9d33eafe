"""Common networks that cannot be read here, recognised by their keys.

The names serve error messages alone.
"""

import re
from collections import Counter
from collections.abc import Iterable

KNOWN = (
    "known are DeepLabV2 on ResNet-101 (its public families), torchvision's DeepLabV3, FCN "
    "and LR-ASPP, EdgeNets' ESPNetv2 and networks of this project"
)

FCN = "torchvision's FCN"

_NETWORKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ESPNetv2 for the classes of ImageNet", (r"^(module\.)?level2_0\.eesp\.",)),
    ("DiCENet of EdgeNets", (r"(^|\.)weight_avg_layer\.",)),
    ("Mask2Former or MaskFormer", (r"sem_seg_head\.|transformer_decoder\.",)),
    ("SegFormer's transformer with DAFormer's head", (r"patch_embed1\.", r"decode_head\.fuse_")),
    ("SegFormer's transformer (MiT), as DAFormer, HRDA and MIC have it", (r"patch_embed1\.",)),
    ("SegFormer of Hugging Face", (r"segformer\.encoder\.",)),
    ("a Swin transformer", (r"relative_position_bias_table",)),
    ("a vision transformer", (r"blocks\.\d+\.attn\.|layers\.\d+\.attn\.|encoder\.layer\.\d+\.",)),
    ("ConvNeXt", (r"(stages|features)\.\d+\.\d+\.(gamma|layer_scale|dwconv|depthwise)",)),
    ("HRNet", (r"transition1\.|stage2\.\d+\.branches",)),
    ("OCRNet", (r"decode_head\.[01]\.|ocr_distri_head",)),
    ("UPerNet", (r"decode_head\.(lateral_convs|fpn_convs)\.",)),
    ("PSPNet", (r"psp_modules\.|(^|\.)ppm\.",)),
    (
        "DeepLabV3+",
        (r"c1_bottleneck\.|decoder\.aspp\.|classifier\.aspp\.|low_level|shortcut_conv",),
    ),
    (
        "mmsegmentation's DeepLabV3",
        (r"decode_head\.image_pool\.|decode_head\.aspp_modules\.\d+\.bn\.",),
    ),
    ("SegFormer's head", (r"decode_head\.(fusion_conv|linear_fuse|linear_c)",)),
    ("DAFormer's head", (r"decode_head\.(fuse_layer|embed_layers)\.",)),
    ("mmsegmentation's FCN", (r"decode_head\.(convs|conv_cat)\.",)),
    ("segmentation_models_pytorch", (r"(^|\.)segmentation_head\.",)),
    ("torchvision's LR-ASPP on MobileNet", (r"classifier\.low_classifier\.",)),
    ("U-Net", (r"double_conv|(^|\.)(down|up|enc|dec)_?\d\.|outc\.|bottleneck\.\d",)),
    ("an object detector", (r"roi_heads?\.|rpn|bbox_head",)),
)
_HEAD = re.compile(r"(?:^|\.)classifier\.(.*)")
_VGG = re.compile(r"^(module\.)?features\.\d+\.(weight|conv|0)")
_DEPTHS = {
    (2, 2, 2, 2): "18",
    (3, 4, 6, 3): "50",
    (3, 4, 23, 3): "101",
    (3, 8, 36, 3): "152",
}
_BLOCKS = re.compile(r"layer([1-4])\.(\d+)\.conv1\.weight$")
_LAST = re.compile(r"layer[1-4]\.\d+\.conv3\.weight$")
_OF_RESNET = re.compile(r"^(layer[1-4]|conv1|bn1|stem|fc)\.")


def network_of(keys: Iterable[str]) -> str:
    """Name of the network that has these keys, for people; empty if it is not recognised."""
    listed = list(keys)
    for name, patterns in _NETWORKS:
        if all(any(re.search(pattern, key) for key in listed) for pattern in patterns):
            return name
    if _is_fcn(listed):
        return FCN
    if any(map(_VGG.match, listed)):
        return "a VGG, DenseNet or MobileNet"
    return ""


def _is_fcn(keys: list[str]) -> bool:
    """Whether the head is a plain sequence, as in torchvision's FCN; DeepLabV3's has an ASPP."""
    ends = {m[1] for m in map(_HEAD.search, keys) if m}
    return {"0.weight", "1.running_mean", "4.weight"} <= ends


def resnet_of(keys: Iterable[str]) -> str:
    """Name of the ResNet that has these keys, ResNet-50 for instance; empty for unusual ones."""
    listed = list(keys)
    found = {m.groups() for m in map(_BLOCKS.search, listed) if m}
    counts = Counter(layer for layer, _ in found)
    blocks = tuple(counts[str(layer)] for layer in (1, 2, 3, 4))
    deep = any(map(_LAST.search, listed))
    if blocks == (3, 4, 6, 3) and not deep:
        return "ResNet-34"
    return f"ResNet-{_DEPTHS[blocks]}" if blocks in _DEPTHS else ""


def parts_beside(keys: Iterable[str], root: str) -> str:
    """First names of the modules beside a ResNet whose keys begin with `root`."""
    rest = (
        key for key in keys if not (key.startswith(root) and _OF_RESNET.match(key[len(root) :]))
    )
    outer = root.rpartition("backbone.")[0]
    firsts = dict.fromkeys(".".join(key.removeprefix(outer).split(".")[:2]) for key in rest)
    return ", ".join(list(firsts)[:3])
