"""Paths of source models in the cache; loads no torch, so that commands start fast."""

from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from stvm.data.cityscapes import CITYSCAPES
from stvm.data.correspondence import map_classes, refuse_slips
from stvm.data.datasets import labelling_of, source_labelling_of
from stvm.data.fingerprints import Contents
from stvm.networks import find_network
from stvm.networks.label_names import class_names_of
from stvm.settings import Settings
from stvm.settings.class_map import NAMED


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
    return _fact(path, "init_sha256")


def known_source_classes(settings: Settings) -> tuple[str, ...]:
    """Names of the source model's classes, as far as they are known without torch.

    Empty for a checkpoint that does not name them.

    Raises:
        StvmError: A class list that cannot be read.
    """
    data, checkpoint = settings.data, settings.source.source_checkpoint
    if data.source_classes or not checkpoint:
        return source_labelling_of(data).class_names
    if names := _fact(Path(checkpoint), "class_names"):
        return tuple(names.split("\n"))
    hugging_face = settings.network.network.startswith("segformer:")
    if hugging_face and (beside := class_names_of(Path(checkpoint).parent)):
        return beside
    return CITYSCAPES if data.class_map in NAMED else ()


def refuse_wrong_classes(trials: Iterable[Settings]) -> None:
    """Refuse class maps that do not fit the classes, as far as these are known without torch.

    Raises:
        StvmError: A class that is not there or is given twice, or a target class without entry.
    """
    mapped = {(s.data, s.network.network, known_source_classes(s), _is_there(s)) for s in trials}
    for data, network, names, there in mapped:
        if data.class_map and names:
            map_classes(data.class_map, names, labelling_of(data).class_names)
        elif data.class_map and there:
            target, family = labelling_of(data).class_names, find_network(network).family
            refuse_slips(data.class_map, target, family)


def _is_there(settings: Settings) -> bool:
    return Path(settings.source.source_checkpoint).is_file()


def _fact(path: Path, name: str) -> str:
    """An entry of the metadata of a file of weights of this project; empty for none."""
    if not path.exists():
        return ""
    try:
        with safe_open(path, "numpy") as file:
            return str((file.metadata() or {}).get(name, ""))
    except (OSError, SafetensorError):
        return ""


def source_lock(path: Path) -> Path:
    """Lock file of a source model, held while it is trained."""
    return path.with_suffix(".lock")


def uses_local_files(settings: Settings) -> bool:
    """True if images or weights of the user are read, not only the embedded benchmark."""
    source = settings.source
    given = source.source_checkpoint or source.source_init
    own = find_network(settings.network.network).files
    return settings.data.dataset != "streets" or bool(given or own)
