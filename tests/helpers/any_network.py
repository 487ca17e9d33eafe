"""Networks of every kind at toy size: the settings that name them."""

from pathlib import Path
from typing import Any

import pytest

OWN = '''
"""A network of one's own."""
import torch
from torch import nn

print("text that a file prints")


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, images):
        return torch.relu(self.norm(self.stem(images)))


def build(num_classes):
    classifier = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
    return Features(), classifier
'''

IN_BLOCKS = """
from torch import nn


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 32, stride=32)

    def forward(self, images):
        if images.shape[-1] % 32:
            raise ValueError(f"a width of {images.shape[-1]} is no multiple of 32")
        return self.embed(images)


def build(num_classes):
    return Blocks(), nn.Conv2d(8, num_classes, 1)
"""
"""A network whose images have to be so many times 32 pixels wide."""


def make_segformer(folder: Path, classes: int = 19, seed: int = 0) -> Path:
    """A SegFormer as Hugging Face keeps it, at toy size, by the library itself."""
    transformers = pytest.importorskip("transformers")
    import torch

    from stvm.data.cityscapes import CITYSCAPES

    torch.manual_seed(seed)
    names = CITYSCAPES if classes == 19 else [f"kind {n}" for n in range(classes)]
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 8, 8, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=8,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    whole = transformers.SegformerForSemanticSegmentation(config).eval()
    whole.decode_head.batch_norm.running_mean.uniform_(-1, 1)
    whole.save_pretrained(folder)
    text = '{"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "do_normalize": true}'
    (folder / "preprocessor_config.json").write_text(text)
    return folder


def make_own(folder: Path, text: str = OWN, name: str = "my_network.py") -> str:
    """The value of `network` for a file with this text."""
    (folder / name).write_text(text)
    return f"{folder / name}:build"


def kind(name: str, folder: Path) -> dict[str, Any]:
    """Settings of a kind of network, whose files are made in the folder."""
    if name == "segformer":
        return {"network": f"segformer:{make_segformer(folder)}"}
    if name == "own":
        return {"network": make_own(folder)}
    if name == "espnetv2":
        return {"network": "espnetv2", "network_width": 0.5}
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    return {"network": name}
