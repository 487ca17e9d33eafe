"""Where source models are kept; known without torch, which a study's command does not load."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from stvm.data.fingerprints import Contents
from stvm.settings import Settings


def source_path(settings: Settings, cache: Path) -> Path:
    """File of the source model: the user's checkpoint, or the one trained under its hash.

    The hash says what the images of folders hold and what the initialisation does. A model that
    was trained under an earlier name is found where that name says as much; those of the first
    versions end in .pt.

    Raises:
        StvmError: the settings say of files what they do not hold, or one cannot be read.
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
    """SHA-256 of the initialisation that a source model was trained from, as its file says."""
    if not path.exists():
        return ""
    try:
        with safe_open(path, "numpy") as file:
            return str((file.metadata() or {}).get("init_sha256", ""))
    except (OSError, SafetensorError):
        return ""


def source_lock(path: Path) -> Path:
    """The lock of a source model, held while it is trained."""
    return path.with_suffix(".lock")


def uses_local_files(settings: Settings) -> bool:
    """Images or weights of the user's are read, not only the embedded benchmark."""
    source = settings.source
    given = source.source_checkpoint or source.source_init
    return settings.data.dataset != "streets" or bool(given)
