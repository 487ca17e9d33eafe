"""Adaptation of a public network to your own images, which need no labels.

PHOTOS is a folder of PNG and JPEG images of any size; FILE is any checkpoint that a study can start
from. Its network and its classes are those of the result. DIR gets the adapted network
(model.safetensors), the predicted class ids of each image (labels/NAME.png, with classes.csv), a
picture of some images before and after (before_after.png), settings.json and curve.json. The
settings are those of the preset own_images. A command that was stopped or killed goes on where it
was if it is given again.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from studies.arguments import DEVICES, one_of
from studies.commands.adaptation_folder import AdaptationFolder
from studies.commands.adaptation_summary import summary
from studies.commands.lookup import add_network_option
from stvm.errors import StvmError
from stvm.files import refuse_file
from stvm.files.locks import Held, locked
from stvm.settings import Settings, group_of, parse_assignments
from stvm.settings.presets import find_preset

if TYPE_CHECKING:
    from studies.commands.photo_work import PhotoWork

PRESET = "own_images"
_GROUPS = ("method", "training", "objective", "compute")
"""Groups of settings that can be changed; of the network only what tells how to read its file."""
_OF_THE_FILE = ("checkpoint_family", "aspp_branches")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to start from")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the result")
    parser.add_argument(
        *("--height", "-H"),
        type=int,
        default=0,
        metavar="PIXELS",
        help="height to which every image is resized for the adaptation; default: the shape of the "
        "first image with about 170,000 pixels",
    )
    parser.add_argument(
        *("--width", "-W"), type=int, default=0, metavar="PIXELS", help="width, likewise"
    )
    add_network_option(parser)
    parser.add_argument("--device", **one_of(DEVICES), help="device (a GPU if there is one)")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="setting=value",
        help="changed settings, as in iterations=400; `python -m studies settings` lists them",
    )


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    changes = parse_assignments(options.settings)
    # The message about a file of the user's own network names it as a setting.
    options.network = changes.pop("network", options.network)
    for name in changes:
        _refuse_useless(name)
    if options.checkpoint is None:
        raise StvmError("adapt starts from a file of weights: name it with --checkpoint FILE")
    if options.out is None:
        raise StvmError("adapt writes files: name their folder with --out DIR")
    refuse_file(options.out, "--out")
    # torch takes seconds to import, and --help needs none.
    from studies.commands.photo_work import prepare

    work = prepare(options, changes)
    folder = AdaptationFolder(options.out)
    made = not folder.root.exists()
    folder.open()
    try:
        with locked(folder.work / "lock", wait=False):
            try:
                return _run(work, folder)
            except StvmError:
                folder.drop_unbegun(made)
                raise
    except Held:
        raise StvmError(f"--out {options.out}: another process adapts there; wait for it") from None


def _refuse_useless(name: str) -> None:
    """Refuse a setting of what this command takes from elsewhere.

    Raises:
        StvmError: there is no such setting, or it has no meaning here.
    """
    group = group_of(name)
    if name in ("height", "width"):
        raise StvmError(f"setting '{name}': give it as --{name} PIXELS")
    if name == "source_checkpoint":
        raise StvmError(f"setting '{name}': give it as --checkpoint FILE")
    if group == "network" and name not in _OF_THE_FILE:
        raise StvmError(f"setting '{name}': the network is that of the checkpoint; leave it out")
    if group not in (*_GROUPS, "network") and name not in _OF_THE_FILE or name == "eval_split":
        raise StvmError(
            f"setting '{name}' has no meaning here: adapt reads images without labels, and no "
            "source images; leave it out"
        )


def own_settings(changes: dict[str, str], **fixed: object) -> Settings:
    """The settings of an adaptation: the preset's, and those that are given.

    Args:
        changes: settings of the command line.
        fixed: those that image size and checkpoint decide.

    Raises:
        StvmError: a value out of range, or settings that do not go together.
    """
    settings = find_preset(PRESET).settings(**fixed | changes)
    if not settings.method.adapts:
        raise StvmError("st=false trains nothing, so there is nothing to adapt: leave it out")
    return settings


def _run(work: "PhotoWork", folder: AdaptationFolder) -> int:
    """Adapt and write everything; the exit code."""
    work.check_images(folder)
    facts = work.facts(folder)
    folder.refuse_other(facts)
    kept = folder.found() or {}
    if "finished" in kept:
        print(
            f"{folder.root}: finished already, at {kept['finished']}; label other images with "
            f"`{_predict(folder)}`"
        )
        return 0
    facts["begun"] = kept.get("begun", facts["begun"])
    print("\n".join(work.lines()), flush=True)
    folder.write_facts(facts)
    try:
        facts = work.finish(folder, work.train(folder, facts), facts)
    except KeyboardInterrupt:
        print(work.interrupted(), file=sys.stderr)
        return 130
    print("\n".join(summary(facts, work.line.pace())))
    print(
        f"no label was read, so whether it is better only you can see: {folder.picture}\n"
        f"network {folder.model}, classes of each image {folder.labels}\n"
        f"other images: {_predict(folder)}"
    )
    return 0


def _predict(folder: AdaptationFolder) -> str:
    """The command that labels other images, as a shell reads it."""
    return f"python -m studies predict {shlex.quote(str(folder.root))} FOLDER --out LABELS"
