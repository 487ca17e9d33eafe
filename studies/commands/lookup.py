"""What the commands over results share: manifests, hashes by prefix, settings of a record."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.files import read_json
from stvm.records.results import Results, is_hash
from stvm.records.trial_label import label_parts
from stvm.settings import Settings


@dataclass(frozen=True)
class Manifest:
    """What a study lists.

    Attributes:
        name: NAME-BASE, as in its file.
        title: one line for people.
        entries: of `stvm.study.Trial.entry`; a trial may stand in several rows. "drawn" says that
            the realisation is one of the embedded benchmark.
    """

    name: str
    title: str
    entries: tuple[dict[str, Any], ...]


def open_results(root: Path) -> Results:
    """The results folder, which must exist.

    Raises:
        StvmError: there is none.
    """
    if not root.is_dir():
        raise StvmError(f"no results folder {root}: run a study first, or name another --results")
    return Results(root)


def manifest_paths(results: Results) -> list[Path]:
    """Files of all manifests, sorted."""
    return sorted((results.root / "studies").glob("[!.]*.json"))


def read_manifest(path: Path) -> Manifest:
    """A study's manifest.

    Raises:
        StvmError: unreadable, or no list of trials in it.
    """
    data = read_json(path)
    entries = data.get("trials")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and is_hash(str(entry.get("hash"))) and "row" in entry
        for entry in entries
    ):
        raise StvmError(f"{path}: 'trials' is no list of trials; move it away and run the study")
    drawn = data.get("dataset", "streets") == "streets"
    entries = [entry | {"drawn": drawn} for entry in entries]
    return Manifest(path.stem, str(data.get("title", "")), tuple(entries))


def entry_label(entry: dict[str, Any]) -> str:
    """A manifest's entry for people, as `stvm.study.Trial.label` has it."""
    realisation = entry.get("realisation", 0) if entry.get("drawn", True) else None
    return " ".join(label_parts(entry["row"], realisation, entry.get("seed")))


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
        raise StvmError(f"no {what} '{prefix}': there is none at all")
    proposal = (
        f"did you mean '{near[0]}'?" if near else f"there are {len(names)}, `status` counts them"
    )
    raise StvmError(f"no {what} '{prefix}': {proposal}")


def find_network(model: str, root: Path) -> tuple[Path, str]:
    """A file of weights by its path, or the network kept of a trial by how its hash begins.

    Returns:
        The file, and the hash of the trial; empty for a file that was named.

    Raises:
        StvmError: there is neither.
    """
    if Path(model).is_file():
        return Path(model), ""
    if len(Path(model).parts) > 1:
        raise StvmError(f"no file {model}: name a file of weights, or the HASH of a trial")
    recorded = open_results(root)
    name = find_name(model, recorded.names(), f"file {model}, and no record of trial")
    kept = recorded.model_path(name)
    if not kept.is_file():
        raise StvmError(
            f"trial {name} kept no network: `python -m studies replay {name} --keep-model` makes "
            "it again from its settings; trials run with keep_model=true keep theirs"
        )
    return kept, name


def settings_of(record: dict[str, Any], path: Path, anyway: bool = False) -> Settings:
    """Settings of a recorded trial.

    Args:
        record: of the trial.
        path: of the record, for messages.
        anyway: take the settings as this version reads them, whatever the trial's hash.

    Raises:
        StvmError: a setting that this version does not know or allow, or another hash.
    """
    version = (record.get("run") or {}).get("stvm", "unknown")
    which = f" ({record['variant']})" if record.get("variant") else ""
    try:
        settings = Settings().replace(**record["settings"])
    except (KeyError, TypeError):
        raise StvmError(f"{path}: no settings in it; move it away and run again") from None
    except StvmError as error:
        raise StvmError(f"{path}{which}: recorded by stvm {version}: {error}") from None
    name = settings.hash()
    if name != record["hash"] and not anyway:
        raise StvmError(
            f"{path}{which}: recorded by stvm {version}; this version names the trial of these "
            f"settings {name}, so it may compute something else"
        )
    return settings
