"""A network as a plain state dict in the layout of its public family, for the originals' code.

FILE is any checkpoint that a study can start from; HASH names a trial run with keep_model=true.
"""

import argparse
from pathlib import Path

from studies.recorded import open_results
from stvm.errors import StvmError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", metavar="FILE-or-HASH")
    parser.add_argument("--out", type=Path, metavar="FILE", help="to be written; must not exist")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--family", default="auto", help="of FILE, where it cannot be told")


def find_model(model: str, results: Path) -> Path:
    """The file that is named, or the network kept of the trial that is named.

    Raises:
        StvmError: there is neither.
    """
    if Path(model).is_file():
        return Path(model)
    kept = open_results(results).model_path(model)
    if not kept.is_file():
        raise StvmError(
            f"no file {model} and no network {kept}: a trial keeps its network if it is run with "
            "keep_model=true"
        )
    return kept


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    # torch takes seconds to import, and --help needs none.
    from stvm.pretrained import FAMILIES, export_family, export_network, open_checkpoint

    if options.family not in ("auto", *FAMILIES):
        raise StvmError(f"unknown family '{options.family}': there are {', '.join(FAMILIES)}")
    if options.out is None:
        raise StvmError("export-model writes a file: name it with --out FILE")
    checkpoint = open_checkpoint(find_model(options.model, options.results), options.family)
    network = checkpoint.build()
    origin = checkpoint.found.metadata.get("origin", checkpoint.family)
    family = export_family(network, origin)
    export_network(network, family, options.out)
    print(f"{options.out}: {checkpoint.line()}; written as {family} has it")
    return 0
