"""`python -m studies COMMAND`: what is recorded, and what to do with it."""

import importlib
import os
import sys
from collections.abc import Sequence

from studies.arguments import OneLineParser
from stvm.errors import StvmError, unknown

COMMANDS = {
    "prepare": ("prepare", "check the folders of published data sets and decode them"),
    "status": ("status", "what is recorded, running, failed and why, by study"),
    "replay": ("replay", "run one recorded trial again and compare it with its record"),
    "retry-failed": ("retry_failed", "run failed trials again; their records are set aside"),
    "export": ("export", "all records as one Parquet file"),
    "memory": ("memory", "GPU memory that a trial is estimated to need"),
    "checkpoint": ("checkpoint", "what a file of weights is, and whether it fits a preset"),
    "predict": ("predict", "labels, overlays and reliability for images of your own"),
    "track": ("track", "recorded trials for TensorBoard, MLflow and Weights & Biases"),
    "export-model": ("export_model", "a network as a state dict in its public layout"),
    "settings": ("settings_list", "all settings: defaults, ranges, what they do"),
}
"""Command to its module in `studies.commands` and its line of help; a module is imported late."""


def _overview() -> str:
    lines = [f"  {name:14s}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m studies COMMAND [options]", "", *lines, ""]
        + ["python -m studies COMMAND --help shows the options of a command."]
    )


def _module(name: str) -> str:
    if name in COMMANDS:
        return f"studies.commands.{COMMANDS[name][0]}"
    raise unknown("command", name, COMMANDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, 1 failures or differences, 2 bad input, 130 stopped.

    Raises:
        SystemExit: after --help, or for an option that does not exist.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview(), file=sys.stdout if given else sys.stderr)
        return 0 if given else 2
    try:
        module = importlib.import_module(_module(given[0]))
        parser = OneLineParser(prog=f"python -m studies {given[0]}", description=module.__doc__)
        module.add_options(parser)
        code: int = module.run(parser.parse_intermixed_args(given[1:]))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except StvmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
