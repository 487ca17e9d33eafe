"""Peak GPU memory of a trial of a preset, estimated without a GPU, beside the paper's 11 GB."""

import argparse

from studies.arguments import gibibytes, preset_name
from stvm.settings import parse_assignments
from stvm.settings.presets import PRESETS, find_preset


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--preset", type=preset_name, default="demo", help=f"one of {', '.join(PRESETS)}"
    )
    parser.add_argument(
        "--gib", type=gibibytes, help="memory of your GPU in GiB (this machine's, by nvidia-smi)"
    )
    parser.add_argument("settings", nargs="*", metavar="setting=value")


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    settings = find_preset(options.preset).settings(**parse_assignments(options.settings))
    # torch takes seconds to import.
    from stvm.memory.memory_report import gpu_memory, lines

    memory = gpu_memory() if options.gib is None else round(options.gib * 2**30)
    print("\n".join(lines(settings, memory)))
    return 0
