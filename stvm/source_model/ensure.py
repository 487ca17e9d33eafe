"""Provides the source model's file: the first process that needs it trains it, once."""

from pathlib import Path

import torch

from stvm.data.datasets import open_source, source_fingerprint, source_labelling_of
from stvm.data.fingerprints import Contents
from stvm.errors import StvmError
from stvm.files import drop_unfinished, file_sha256
from stvm.files.locks import locked, look_afresh
from stvm.pretrained import save_network
from stvm.records.running import Progress, signed
from stvm.settings import Settings
from stvm.source_model.loading import open_source_model
from stvm.source_model.location import source_lock, source_path
from stvm.source_model.supervised import train_source
from stvm.training.device import computing
from stvm.training.resume import SAVE_INTERVAL_S, SUPERVISED_FORMAT, TrainingCheckpoint


def ensure_source(
    settings: Settings,
    cache: Path,
    device: torch.device,
    progress: Progress | None = None,
    every_s: float = SAVE_INTERVAL_S,
    wait: bool = True,
    sign: Path | None = None,
) -> Path:
    """The source model's file; the first process trains it, the others wait.

    Args:
        settings: Settings of a trial that starts from the source model.
        cache: Folder of rendered data and source models.
        device: Device to train on.
        progress: Function that is told how far the training is.
        every_s: Least seconds between two saved states, from which the training can resume.
        wait: True to wait while another process trains it.
        sign: File in which this process writes how far it is; None for none.

    Raises:
        Held: Another process trains it, and `wait` is false.
        StvmError: The file was trained from other images or other weights.
    """
    path = source_path(settings, cache)
    if settings.source.source_checkpoint:
        return path
    if settings.data.dataset == "folder":
        # A source model is named by its images, so missing images are reported first.
        open_source(settings.data, "train", cache)
    made_from = _origin(settings)
    if path.exists():
        published = Contents(cache).of_published_source(settings.data)
        _check_origin(settings, path, made_from | published)
        return path
    with locked(source_lock(path), wait):
        look_afresh(path.parent)
        drop_unfinished(path)
        if not path.exists():
            identity = {"hash": path.stem} | made_from
            checkpoint = TrainingCheckpoint(
                path.with_suffix(".state"), identity, every_s, SUPERVISED_FORMAT
            )
            label = f"source model {path.stem}"
            with signed(sign, label, source_lock(path), progress) as told:
                _train(settings, path, cache, device, told, checkpoint, made_from)
            checkpoint.drop()
    return path


def _train(
    settings: Settings,
    path: Path,
    cache: Path,
    device: torch.device,
    progress: Progress,
    checkpoint: TrainingCheckpoint,
    made_from: dict[str, str],
) -> None:
    with computing(settings.compute, device):
        network = train_source(settings, cache, device, progress, checkpoint)
    if source_path(settings, cache) != path:
        raise StvmError(
            f"{settings.data.source_root}: files changed while the source model was trained on "
            "them; run again"
        )
    published = Contents(cache).of_published_source(settings.data)
    names = source_labelling_of(settings.data).class_names
    save_network(network, path, names, **made_from, **published)


def _origin(settings: Settings) -> dict[str, str]:
    """Digests of initialisation and images that are not part of the source model's name."""
    start = settings.source.source_init
    found = {
        "init_sha256": file_sha256(Path(start)) if start else "",
        "source_images_sha256": source_fingerprint(settings.data),
    }
    return {name: value for name, value in found.items() if value}


def _check_origin(settings: Settings, path: Path, made_from: dict[str, str]) -> None:
    """Raises if an existing source model was trained from other images or other weights."""
    if not made_from:
        return
    kept = open_source_model(settings, path).found.metadata
    for name, value in made_from.items():
        if kept.get(name, value) != value:
            what = "source_init" if name == "init_sha256" else "source images"
            raise StvmError(
                f"{path}: trained from other {what} than these; restore them, or name another "
                "folder with --cache"
            )
