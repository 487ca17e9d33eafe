"""The files that trials read, checked before anything is started."""

from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from stvm.data.correspondence import Correspondence, find_correspondence
from stvm.data.datasets import has_source_val, open_source, open_target_images, open_target_labelled
from stvm.data.inspection import check_contents
from stvm.data.split_files import Reads, odd_files
from stvm.errors import StvmError
from stvm.evaluation.trial_evaluator import open_evaluation_images
from stvm.networks import SegmentationNetwork, find_network
from stvm.settings import PUBLISHED, Settings, measures_target, needs_two_images
from stvm.source_model.loading import correspondence_of, new_network, open_source_model
from stvm.source_model.location import known_source_classes
from stvm.training.starting_network import needing_batch_norm, refuse_without_batch_norm
from stvm.trial.tried_passes import passes_of, try_passes

SOURCE_IMAGES = 500
"""Most held-out source images of a published set: GTA5 has 6382, too many for one figure."""


def check_inputs(
    trials: Iterable[Settings], cache: Path | None = None, given: Collection[str] = ()
) -> list[str]:
    """Look at folders, files, labels and checkpoint before anything is started, each once.

    Args:
        trials: trials to be started.
        cache: folder of prepared images and of earlier checks; None to use neither.
        given: names of the settings that the user gave.

    Returns:
        A line for each public checkpoint with its family and form, for each correspondence of
        classes, and for each odd file.

    Raises:
        StvmError: one is missing, cannot be used or does not fit.
    """
    all_trials = list(trials)
    distinct = {
        (
            *(s.data, s.network, s.training.eval_split, s.evaluation),
            *(s.source.source_checkpoint, s.source.checkpoint_family, s.source.source_init),
            *(s.method.procedure, bool(measures_target(s.method))),
            *(bool(needing_batch_norm(s.method, given)), *passes_of(s)),
        ): s
        for s in all_trials
    }
    lines: list[str] = []
    for settings in distinct.values():
        source = settings.source
        if settings.data.dataset != "streets":
            _open_folders(settings)
        if source.source_checkpoint:
            found = open_source_model(settings, Path(source.source_checkpoint))
            refuse_unfit(settings, found.build(), given)
            if found.family != "stvm":
                lines.append(f"{source.source_checkpoint}: {found.line()}")
            classes = correspondence_of(settings, found)
        else:
            classes = _of_trained(settings)
            _check_new(settings, given)
        if remark := classes.remark(settings.evaluation.unmatched):
            lines.append(remark)
    # Last, as it may take minutes.
    reads = dict.fromkeys(one for settings in all_trials for one in _reads(settings))
    lines += [line for one in reads for line in odd_files(one)]
    files = [files for one in reads for files in one.files(cache)]
    return list(dict.fromkeys([*lines, *check_contents(files, cache)]))


def _open_folders(settings: Settings) -> None:
    """A look at the folders of images and labels that a trial reads."""
    data = settings.data
    if not settings.source.source_checkpoint:
        open_source(data, "train", Path())
    _refuse_lone_image(settings, len(open_target_images(data, Path())))
    open_evaluation_images(settings, Path())
    if settings.method.procedure == "oracle":
        open_target_labelled(data, "train", Path())


def _of_trained(settings: Settings) -> Correspondence:
    """The correspondence of the classes of a source model that is to be trained."""
    names = known_source_classes(settings)
    return find_correspondence(settings.data, "the source model", len(names), names)


def _check_new(settings: Settings, given: Collection[str]) -> None:
    """A look at the network that is to be trained: its initialisation, and its batch norm."""
    if settings.source.source_init or find_network(settings.network.network).tried:
        refuse_unfit(settings, new_network(settings), given)
    elif needing_batch_norm(settings.method, given):
        with torch.device("meta"):
            refuse_without_batch_norm(settings.method, new_network(settings), given)


def _reads(settings: Settings) -> list[Reads]:
    """The splits that a trial and its source model read, with or without target labels."""
    data, method = settings.data, settings.method
    found = []
    if not settings.source.source_checkpoint:
        found.append(Reads(data, "source", "train"))
    if method.procedure == "adapt" and not method.st and has_source_val(data):
        most = SOURCE_IMAGES if data.dataset in PUBLISHED else 0
        found.append(Reads(data, "source", "val", most=most))
    found.append(Reads(data, "target", "train", labelled=method.procedure == "oracle"))
    return [*found, Reads(data, "target", settings.training.eval_split)]


def refuse_unfit(
    settings: Settings, network: SegmentationNetwork, given: Collection[str] = ()
) -> None:
    """Refuse a network whose batch norm, or whose lack of it, does not fit the settings.

    What only a pass can show is tried.

    Args:
        settings: settings of a trial.
        network: its network.
        given: names of the settings that the user gave.
    """
    refuse_without_batch_norm(settings.method, network, given)
    try_passes(settings, network)


def _refuse_lone_image(settings: Settings, images: int) -> None:
    """AdaBN, or a start nearer to the target, of a network whose batch norm needs two images."""
    measuring = measures_target(settings.method)
    if measuring and images == 1 and needs_two_images(settings.network):
        raise StvmError(
            f"{settings.data.target_root}: one training image, and {measuring} of "
            f"{settings.network.network} needs two: add images, or leave that row out"
        )
