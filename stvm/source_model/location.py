"""Paths of source models in the cache; loads no torch, so that commands start fast."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from stvm.data.fingerprints import Contents
from stvm.settings import Settings


def source_path(settings: Settings, cache: Path) -> Path:
    """File of the source model: the user's checkpoint, or the trained one, named by its hash.

    The content of a user's images and of the initialisation is part of the hash. A model trained
    under a name of an earlier version is found too, if it was made from the same content. Models
    of the first versions end in .pt.

    Raises:
        StvmError: The settings hold other digests than the files, or a file cannot be read.
    """
    if settings.source.source_checkpoint:
        return Path(settings.source.source_checkpoint)
    known, folder = Contents(cache).identified(settings), cache / "sources"
    names = [known.source_hash(), known.source_hash(sized_by_target=True)]
    if known.source.init_content and known.data.dataset != "folder":
        older = settings.without_contents().source_hash(sized_by_target=True)
        if init_of(folder / f"{older}.safetensors") == known.source.init_content:
            names.append(older)
    for name in names:
        first, kept = folder / f"{name}.pt", folder / f"{name}.safetensors"
        if first.exists():
            return first
        if kept.exists() or kept.with_suffix(".state").exists():
            return kept
    return folder / f"{names[0]}.safetensors"


def init_of(path: Path) -> str:
    """SHA-256 of the initialisation of a source model, read from its file; empty for none."""
    if not path.exists():
        return ""
    try:
        with safe_open(path, "numpy") as file:
            return str((file.metadata() or {}).get("init_sha256", ""))
    except (OSError, SafetensorError):
        return ""


def source_lock(path: Path) -> Path:
    """Lock file of a source model, held while it is trained."""
    return path.with_suffix(".lock")


def uses_local_files(settings: Settings) -> bool:
    """True if images or weights of the user are read, not only the embedded benchmark."""
    source = settings.source
    given = source.source_checkpoint or source.source_init
    return settings.data.dataset != "streets" or bool(given)
