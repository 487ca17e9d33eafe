"""What a file of weights is: family, heads, rates that count, classes, input; and whether it fits.

With --preset the checkpoint must fit the preset's network and classes, key by key, as it would
when a study starts from it.
"""

import argparse
from pathlib import Path

from stvm.presets import PRESETS, find_preset
from stvm.settings import Settings, parse_assignments


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--preset", help=f"check against it: {', '.join(PRESETS)}")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="setting=value",
        help="checkpoint_family and aspp_branches, where they cannot be told; others with --preset",
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    # torch takes seconds to import, and --help needs none.
    from stvm.pretrained import open_checkpoint
    from stvm.source_model import file_sha256, open_source_model

    path: Path = options.file
    changes = parse_assignments(options.settings)
    if options.preset:
        settings = find_preset(options.preset).settings(**changes, source_checkpoint=str(path))
        checkpoint = open_source_model(settings, path)
    else:
        settings = Settings().replace(**{"network": "deeplabv2_resnet101"} | changes)
        checkpoint = open_checkpoint(
            path, settings.source.checkpoint_family, settings.network.aspp_branches
        )
    print(f"{path}: {checkpoint.line()}")
    print(f"sha256 {file_sha256(path)}")
    if checkpoint.architecture:
        checkpoint.build()
        print(f"all keys fit{f'; preset {options.preset}' if options.preset else ''}")
    return 0
