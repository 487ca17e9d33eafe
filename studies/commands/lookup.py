"""Look-ups that the commands over results share: manifests, hashes by prefix, settings."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studies.commands.adaptation_folder import AdaptationFolder
from stvm.errors import StvmError
from stvm.networks import find_network as facts_of
from stvm.records.manifest import manifest_files
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.results_folder import check_results
from stvm.settings import Settings

if TYPE_CHECKING:
    from stvm.networks import Architecture


def open_results(root: Path) -> Results:
    """The results folder, which must exist.

    Raises:
        StvmError: there is none, or a file.
    """
    check_results(root, "run a study first")
    return Results(root)


def manifest_paths(results: Results) -> list[Path]:
    """Files of all manifests, sorted."""
    return manifest_files(results.root)


def find_name(prefix: str, names: Sequence[str], what: str = "record of trial") -> str:
    """The one name that is, or alone begins with, `prefix`.

    Raises:
        StvmError: none does (the nearest is proposed), or several do.
    """
    found = [name for name in names if prefix and name.startswith(prefix)]
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found[0]
    if found:
        raise StvmError(f"'{prefix}' is the beginning of {', '.join(found)}: give more of it")
    heads = {name[: len(prefix)]: name for name in names}
    near = [heads[head] for head in difflib.get_close_matches(prefix, heads, n=1, cutoff=0.6)]
    if not names:
        raise StvmError(
            f"no {what} '{prefix}': there is none at all; run a study first, or name another "
            "--results"
        )
    proposal = (
        f"did you mean '{near[0]}'?" if near else f"there are {len(names)}, `status` counts them"
    )
    raise StvmError(f"no {what} '{prefix}': {proposal}")


def find_network(model: str, root: Path) -> tuple[Path, str]:
    """A file of weights by its path, that in a folder of `adapt`, or the network kept of a trial.

    Args:
        model: path of the file or folder, or the beginning of the trial's hash.
        root: folder of results.

    Returns:
        The file, and the hash of the trial; empty for a file or folder that was named.

    Raises:
        StvmError: there is neither.
    """
    if Path(model).is_file():
        return Path(model), ""
    adapted = AdaptationFolder(Path(model))
    if adapted.model.is_file():
        return adapted.model, ""
    if Path(model).is_dir():
        advice = (
            "give the command of `adapt` again, which goes on"
            if adapted.is_begun
            else "name a folder that `adapt` wrote, a file of weights, or the HASH of a trial"
        )
        raise StvmError(f"folder {model} holds no adapted network: {advice}")
    if len(Path(model).parts) > 1:
        raise StvmError(f"no file {model}: name a file of weights, or the HASH of a trial")
    try:
        recorded = open_results(root)
    except StvmError as error:
        raise StvmError(f"no file {model}, and {error}") from error
    name = find_name(model, recorded.names(), f"file {model}, and no record of trial")
    kept = recorded.model_path(name)
    if not kept.is_file():
        raise StvmError(
            f"trial {name} kept no network: `python -m studies replay {name} --keep-model` makes "
            "it again from its settings; trials run with keep_model=true keep theirs"
        )
    return kept, name


def add_network_option(parser: argparse.ArgumentParser) -> None:
    """The option that names the code of a file of weights."""
    parser.add_argument(
        "--network",
        metavar="FILE.py:FUNCTION",
        help="code of your own network whose weights the file holds; a trial names its own code",
    )


def own_network(
    asked: str | None, name: str, root: Path, option: str = "--network "
) -> "Architecture | None":
    """The user's own network whose code may run for a file of weights; None for others.

    Args:
        asked: value of --network.
        name: hash of the trial that kept the weights; empty for a file that was named.
        root: results folder.
        option: the option or setting that named it, for the message.

    Raises:
        StvmError: --network is none, or the record cannot be read.
    """
    from stvm.networks.architecture import Architecture

    network = asked or ""
    record = Results(root).read(name) if name and not network else None
    if record:
        network = str(record.settings.get("network", ""))
    if network and facts_of(network).files == ("",):
        return Architecture(network, 0, 0)
    if asked:
        raise StvmError(
            f"{option}{asked}: give FILE.py:FUNCTION for your own network; for others leave this "
            "out, since their weights tell the network"
        )
    return None


def settings_of(record: Record, anyway: bool = False) -> Settings:
    """Settings of a recorded trial.

    Args:
        record: record of the trial.
        anyway: take the settings as this version reads them, whatever the trial's hash.

    Raises:
        StvmError: a setting that this version does not know or allow, or another hash.
    """
    which = f"{record.path}{f' ({record.variant})' if record.variant else ''}"
    version = f"{which}: recorded by stvm {record.run.get('stvm', 'unknown')}"
    try:
        settings = Settings().replace(**record.settings)
    except StvmError as error:
        raise StvmError(f"{version}: {error}") from None
    name = settings.hash()
    if name != record.hash and not anyway:
        raise StvmError(
            f"{version}; this version names the trial of these settings {name}, so it may compute "
            "something else"
        )
    return settings
