"""A network as a file for other code: its public family's layout, a plain state dict, or ONNX.

FILE is any checkpoint that a study can start from; HASH names a trial run with keep_model=true.
--format public: a state dict in the layout of the network's public family, for the originals'
code. --format plain: the state dict of this project's network. --format onnx: images (N, 3, H, W),
RGB in [0, 1], to logits of the same size, compared with torch on an image of another size.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from studies.arguments import add_places, one_of
from studies.commands.lookup import add_network_option, find_network, own_network
from stvm.errors import StvmError

if TYPE_CHECKING:
    from stvm.networks import SegmentationNetwork
    from stvm.pretrained import Checkpoint


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="FILE-or-HASH")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; it must not exist")
    add_places(parser, "--results")
    parser.add_argument("--format", **one_of(("public", "plain", "onnx")), default="public")
    parser.add_argument("--family", default="auto", help="family of FILE, if unclear")
    add_network_option(parser)


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    # torch takes seconds to import, and --help needs none.
    from stvm.pretrained import FAMILIES, open_checkpoint

    if options.family not in ("auto", *FAMILIES):
        raise StvmError(f"unknown family '{options.family}': there are {', '.join(FAMILIES)}")
    if options.out is None:
        raise StvmError("export-model writes a file: name it with --out FILE")
    path, name = find_network(options.model, options.results)
    own = own_network(options.network, name, options.results)
    checkpoint = open_checkpoint(path, options.family, default=own)
    network = checkpoint.build()
    print(f"{options.out}: {checkpoint.line()}; {_export(network, checkpoint, options)}")
    return 0


def _export(
    network: "SegmentationNetwork", checkpoint: "Checkpoint", options: argparse.Namespace
) -> str:
    """Write the file; how it is written, for people."""
    from stvm.pretrained import export_family, export_network, export_plain

    if options.format == "onnx":
        from stvm.pretrained.onnx_file import export_onnx

        difference = export_onnx(network, checkpoint.class_names, options.out)
        return f"written as ONNX; onnxruntime differs by {difference:.1g} of the largest logit"
    if options.format == "plain":
        export_plain(network, options.out)
        return "written as a plain state dict"
    family = export_family(network, checkpoint.found.metadata.get("origin", checkpoint.family))
    export_network(network, family, options.out)
    return f"written as {family} has it"
