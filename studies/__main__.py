"""`python -m studies COMMAND`: shows what is recorded, and works on it."""

import importlib
import os
import sys
from collections.abc import Sequence

from stvm.errors import USER_ERRORS, told_of, unknown
from stvm.option_parser import OneLineParser

COMMANDS = {
    "prepare": ("prepare", "check the folders of published data sets and decode them"),
    "status": ("status", "show what is recorded, what runs, what failed and why"),
    "replay": ("replay", "run one recorded trial again and compare it with its record"),
    "retry-failed": ("retry_failed", "run failed trials again; their records are set aside"),
    "export": ("export", "write all records to one Parquet file"),
    "memory": ("memory", "estimate the GPU memory that a trial needs"),
    "checkpoint": ("checkpoint", "say what a file of weights is, and whether it fits a preset"),
    "adapt": ("adapt", "adapt a public network to your own images, which need no labels"),
    "predict": ("predict", "label images of your own: classes, overlays, reliability"),
    "track": ("track", "write recorded trials to TensorBoard, MLflow and Weights & Biases"),
    "export-model": (
        "export_model",
        "write a network as a state dict in its public layout, or as ONNX",
    ),
    "settings": ("settings_list", "list all settings: defaults, ranges, descriptions"),
}
"""Module in `studies.commands` and line of help of each command; the module is imported late."""


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
    """The command; its exit code: 0, 1 failures or differences, 2 bad input, 130 if stopped.

    Raises:
        SystemExit: after --help, or for an unknown option.
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
    except USER_ERRORS as error:
        print(f"error: {told_of(error)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
