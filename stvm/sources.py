"""Where source models are kept; known without torch, which a study's command does not load."""

from pathlib import Path

from stvm.settings import Settings


def source_path(settings: Settings, cache: Path) -> Path:
    """File of the source model: the user's checkpoint, or the one trained under its hash.

    Those of earlier versions end in .pt.
    """
    if settings.source.source_checkpoint:
        return Path(settings.source.source_checkpoint)
    older = cache / "sources" / f"{settings.source_hash()}.pt"
    return older if older.exists() else older.with_suffix(".safetensors")


def source_lock(path: Path) -> Path:
    """The lock of a source model, held while it is trained."""
    return path.with_suffix(".lock")


def brings_files(settings: Settings) -> bool:
    """Images or a checkpoint of the user's are read, not only the embedded benchmark."""
    return settings.data.dataset != "streets" or bool(settings.source.source_checkpoint)
