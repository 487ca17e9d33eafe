"""Checkpoints of source models: the public families, our own files, and backbones to start from."""

from stvm.pretrained.backbone import Backbone, open_backbone
from stvm.pretrained.detection import open_checkpoint
from stvm.pretrained.families import FAMILIES, LAYOUTS, Family, KeyLayout, public_name
from stvm.pretrained.source_checkpoint import Checkpoint
from stvm.pretrained.writing import (
    export_family,
    export_network,
    export_plain,
    public_checkpoint,
    save_network,
)

__all__ = [
    "FAMILIES",
    "LAYOUTS",
    "Backbone",
    "Checkpoint",
    "Family",
    "KeyLayout",
    "export_family",
    "export_network",
    "export_plain",
    "open_backbone",
    "open_checkpoint",
    "public_checkpoint",
    "public_name",
    "save_network",
]
