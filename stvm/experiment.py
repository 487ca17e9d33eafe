"""One trial from settings to result: data, source model, procedure, evaluation."""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from stvm.checkpoints import EVERY_S, Keeper
from stvm.data.access import (
    LabelledImages,
    class_colours,
    class_names,
    open_source,
    open_target_images,
    open_target_labelled,
)
from stvm.errors import DivergenceError
from stvm.evaluate import Score, check_labels, evaluate
from stvm.files import writing
from stvm.measures import Reader, measure_adaptation
from stvm.method.build import Adaptation
from stvm.networks import SegmentationNetwork
from stvm.pretrained import save_network
from stvm.scores import SCORED_IMAGES, has_collapsed, label_free_scores, spread_out
from stvm.settings import Settings
from stvm.source_model import (
    file_sha256,
    new_network,
    open_source_model,
    source_facts,
)
from stvm.sources import source_path
from stvm.supervised import adapt_batch_norm, silent, train_oracle, train_source
from stvm.trainer import Course, Curve, Progress, adapt

SAMPLE_IMAGES = 4


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        result: goes into the record.
        sample: arrays for pictures.
        source: what the source model is, with the "sha256" of its file.
        network: the one reported.
    """

    result: dict[str, Any]
    sample: dict[str, NDArray[Any]]
    source: dict[str, str | int | bool]
    network: SegmentationNetwork


def check_inputs(trials: Iterable[Settings]) -> list[str]:
    """Look for folders, files, labels and checkpoint before anything is started, each once.

    Returns:
        What each public checkpoint was found to be, a line each.

    Raises:
        StvmError: one is missing or does not fit.
    """
    distinct = {
        (
            *(s.data, s.network, s.training.eval_split, s.source.source_checkpoint),
            *(s.source.checkpoint_family, s.source.source_init),
        ): s
        for s in trials
    }
    lines = []
    for (data, _, split, checkpoint, _, start), settings in distinct.items():
        if data.dataset == "folder":
            if not checkpoint:
                open_source(data, "train", Path())
            open_target_images(data, Path())
            open_target_labelled(data, split, Path())
        if checkpoint:
            found = open_source_model(settings, Path(checkpoint))
            found.build()
            if found.family != "stvm":
                lines.append(f"{checkpoint}: {found.line()}")
        elif start:
            new_network(settings)
    return list(dict.fromkeys(lines))


def ensure_source(
    settings: Settings,
    cache: Path,
    device: torch.device,
    progress: Progress | None = None,
    every_s: float = EVERY_S,
) -> Path:
    """The source model's file; the first process trains it, the others wait."""
    path = source_path(settings, cache)
    if path.exists() or settings.source.source_checkpoint:
        return path
    with writing(path.parent):
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
    try:
        if not path.exists():
            keeper = Keeper(path.with_suffix(".state"), {"hash": path.stem}, every_s)
            network = train_source(settings, cache, device, progress or silent, keeper)
            start = settings.source.source_init
            init = {"init_sha256": file_sha256(Path(start))} if start else {}
            save_network(network, path, class_names(settings.data), **init)
            keeper.drop()
    finally:
        lock.release()
    return path


def run_trial(
    settings: Settings,
    cache: Path,
    device: torch.device,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> Outcome:
    """Run one trial; labels of the target serve evaluation and, if asked for, the oracle.

    Args:
        settings: of the trial.
        cache: of rendered data and source models.
        device: to train on.
        progress: told how far it is.
        keeper: keeps the state of the training, from which an interrupted one goes on.

    Raises:
        StvmError: data or checkpoint that cannot be used.
        DivergenceError: a loss that is not finite.
    """
    path = ensure_source(settings, cache, device, progress)
    checkpoint = open_source_model(settings, path)
    source, facts = checkpoint.build().to(device), source_facts(checkpoint)
    del checkpoint
    held_out = open_target_labelled(settings.data, settings.training.eval_split, cache)
    check_labels(held_out, settings.training.eval_split)
    classes = len(class_names(settings.data))
    measure = partial(evaluate, images=held_out, num_classes=classes, device=device)
    images = open_target_images(settings.data, cache)
    unlabelled = spread_out(images, SCORED_IMAGES, device)
    reader = None
    if keeper:
        keeper.bind(source_sha256=str(facts["sha256"]))
    if settings.method.st:
        adaptation, course = adapt(settings, source, images, classes, progress, keeper)
        reader = Reader(settings, adaptation)
        network = adaptation.reported(settings.training.evaluated)
        result = _adapted(settings, adaptation, course, measure)
        result |= measure_adaptation(reader, held_out, unlabelled, classes, device)
    else:
        network = _yardstick(settings, source, cache, device, progress, keeper)
        result = measure(network).as_dict() | {"iteration": 0}
        result["scores"] = label_free_scores(network, unlabelled, None) | {"silhouette": None}
        if settings.method.procedure == "adapt":
            result["source_val_miou"] = _on_source(settings, network, cache, device)
    _refuse_nan(settings, result["scores"]["entropy"])
    result |= {
        "class_names": list(class_names(settings.data)),
        "evaluated": settings.training.evaluated,
        "split": settings.training.eval_split,
    }
    sample = _sample(settings, network, reader, held_out, device)
    sample["miou"] = np.float64(result["miou"])  # type: ignore[assignment]
    return Outcome(result, sample, facts, network)


def _refuse_nan(settings: Settings, entropy: float) -> None:
    """Weights may be finite and so large that the predictions are not.

    Raises:
        DivergenceError: the mean entropy of the predictions is not finite.
    """
    if not math.isfinite(entropy):
        training = settings.training
        iteration = training.iterations if settings.method.st else settings.source.source_iterations
        rates = "lr or metric_lr" if settings.method.st else "source_lr"
        raise DivergenceError(iteration, training.seed, entropy, rates)


def _adapted(
    settings: Settings,
    adaptation: Adaptation,
    course: Course,
    measure: Callable[[SegmentationNetwork], Score],
) -> dict[str, Any]:
    student, teacher = adaptation.student, adaptation.teacher
    scores = {"student": measure(student)}
    scores["teacher"] = scores["student"] if teacher is student else measure(teacher)
    result = scores[settings.training.evaluated].as_dict()
    result |= {name: value.as_dict() for name, value in scores.items()}
    return result | {
        "iteration": settings.training.iterations,
        "curve": _finite(course.curve),
        "watch": course.watch,
        "collapsed": has_collapsed(course.watch),
    }


def _finite(curve: Curve) -> Curve:
    return [{name: round(value, 6) for name, value in point.items()} for point in curve]


def _yardstick(
    settings: Settings,
    source: SegmentationNetwork,
    cache: Path,
    device: torch.device,
    progress: Progress | None,
    keeper: Keeper | None,
) -> SegmentationNetwork:
    """The source model as it is, with the target's batch norm, or trained on target labels."""
    if settings.method.procedure == "adapt":
        return source
    network = copy.deepcopy(source)
    if settings.method.procedure == "adabn":
        adapt_batch_norm(network, open_target_images(settings.data, cache), device)
        return network
    labelled = open_target_labelled(settings.data, "train", cache)
    return train_oracle(network, labelled, settings, progress or silent, keeper)


def _on_source(
    settings: Settings, network: SegmentationNetwork, cache: Path, device: torch.device
) -> float | None:
    """mIoU on held-out source images, where the source has a split `val`."""
    data = settings.data
    if data.dataset == "folder" and not (Path(data.source_root) / "val").is_dir():
        return None
    images = open_source(data, "val", cache)
    return evaluate(network, images, len(class_names(data)), device).miou


@torch.no_grad()
def _sample(
    settings: Settings,
    network: SegmentationNetwork,
    reader: Reader | None,
    images: LabelledImages,
    device: torch.device,
) -> dict[str, NDArray[Any]]:
    rows = np.linspace(0, len(images) - 1, min(SAMPLE_IMAGES, len(images))).round().astype(int)
    pixels = np.stack([images.image(int(i)) for i in rows])
    batch = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float() / 255
    network.eval()
    arrays: dict[str, NDArray[Any]] = {
        "images": pixels,
        "labels": np.stack([images.label(int(i)) for i in rows]),
        "predictions": network(batch).argmax(1).to(torch.uint8).cpu().numpy(),
        "palette": np.array(class_colours(settings.data), np.uint8),
    }
    maps = reader.maps(batch) if reader else {}
    if "reliability" in maps:
        arrays["reliability"] = maps["reliability"].cpu().numpy().astype(np.float32)
    return arrays
