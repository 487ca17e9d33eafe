"""One trial from settings to result: data, source model, procedure, evaluation."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stvm.data.batches import full_batches
from stvm.data.correspondence import Correspondence, match_names
from stvm.data.datasets import has_source_val, open_source, open_target_images, open_target_labelled
from stvm.data.images import EvenSubset, OpenedLabelledImages
from stvm.errors import DivergenceError
from stvm.evaluation.class_mapping import ClassMapping
from stvm.evaluation.collapse import has_collapsed
from stvm.evaluation.evaluate import check_labels, evaluate
from stvm.evaluation.label_free import SCORED_IMAGES, label_free_scores, load_even_subset
from stvm.evaluation.trial_evaluator import TrialEvaluator, open_evaluation_images
from stvm.method.adabn import adapt_batch_norm
from stvm.networks import SegmentationNetwork
from stvm.settings import PUBLISHED, Settings
from stvm.source_model.ensure import ensure_source
from stvm.source_model.loading import correspondence_of, open_source_model, source_facts
from stvm.source_model.supervised import train_oracle
from stvm.training.adaptation import Curve, TrainingLog, adapt, rates_of
from stvm.training.device import computing
from stvm.training.loop import Progress
from stvm.training.pass_progress import told
from stvm.training.peer_builder import Adapted
from stvm.training.resume import TrainingCheckpoint
from stvm.training.starting_network import refuse_without_batch_norm
from stvm.trial.inputs import SOURCE_IMAGES
from stvm.trial.measures import AdaptedPredictor, measure_adaptation
from stvm.trial.sample import predict_sample


@dataclass(frozen=True)
class Outcome:
    """The findings of a trial.

    Attributes:
        result: goes into the record.
        sample: arrays for pictures.
        source: description of the source model, with the "sha256" of its file.
        network: the one reported.
        classes: names of the source model's classes, in the order of its outputs.
        adaptation: all networks after the last iteration; None for rows that do not adapt.
    """

    result: dict[str, Any]
    sample: dict[str, NDArray[Any]]
    source: dict[str, str | int | float | bool]
    network: SegmentationNetwork
    classes: tuple[str, ...]
    adaptation: Adapted | None = None


def run_trial(
    settings: Settings,
    cache: Path,
    device: torch.device,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> Outcome:
    """Run one trial; labels of the target serve evaluation and, if asked for, the oracle.

    Args:
        settings: settings of the trial.
        cache: folder of rendered data and source models.
        device: device to train on.
        progress: function that is told how far the trial is.
        checkpoint: place of the saved state, from which an interrupted training resumes.

    Raises:
        StvmError: data or checkpoint that cannot be used, or memory of a GPU that ran out.
        DivergenceError: a loss that is not finite.
    """
    path = ensure_source(settings, cache, device, progress)
    with computing(settings.compute, device):
        return _run(settings, path, cache, device, progress, checkpoint)


def _run(
    settings: Settings,
    path: Path,
    cache: Path,
    device: torch.device,
    progress: Progress | None,
    checkpoint: TrainingCheckpoint | None,
) -> Outcome:
    found = open_source_model(settings, path)
    source, facts = found.build().to(device), source_facts(found)
    classes = correspondence_of(settings, found)
    del found
    mapping = ClassMapping.of(classes, settings.evaluation.unmatched)
    held = open_evaluation_images(settings, cache)
    measure = TrialEvaluator(settings, held, device, mapping)
    check_labels(measure.images, settings.training.eval_split)
    held_out = _at_image_size(measure, cache)
    images = open_target_images(settings.data, cache)
    count = len(classes.source)
    reader = None
    if checkpoint:
        checkpoint.bind(source_sha256=str(facts["sha256"]))
    if settings.method.adapts:
        adaptation, log = adapt(settings, source, images, count, progress, checkpoint)
        reader = AdaptedPredictor(settings, adaptation)
        network = adaptation.reported(settings.training.evaluated)
        result = _adapted(settings, adaptation, log, measure) | measure.about(network)
        # Loaded now: beside the training they would take a GPU's memory.
        unlabelled = load_even_subset(images, SCORED_IMAGES, device)
        details = _for_details(settings, held_out)
        result |= measure_adaptation(reader, details, unlabelled, count, device, mapping)
    else:
        network = _baseline_network(settings, source, cache, device, classes, progress, checkpoint)
        result = measure(network) | measure.about(network) | {"iteration": 0}
        unlabelled = load_even_subset(images, SCORED_IMAGES, device)
        result["scores"] = label_free_scores(network, unlabelled, None) | {"silhouette": None}
        if settings.method.procedure == "adapt":
            result["source_val_miou"] = _on_source(settings, network, cache, device, classes)
    _refuse_nan(settings, result["scores"]["entropy"])
    result |= {
        "class_names": list(images.labelling.class_names),
        "evaluated": settings.training.evaluated,
        "split": settings.training.eval_split,
    }
    if mapping:
        result["correspondence"] = classes.facts(mapping.rule)
    sample = predict_sample(network, reader, held_out, device, mapping)
    sample["miou"] = np.float64(result["miou"])  # type: ignore[assignment]
    adapted = reader.adaptation if reader else None
    return Outcome(result, sample, facts, network, classes.source, adapted)


def _at_image_size(measure: TrialEvaluator, cache: Path) -> OpenedLabelledImages:
    """The evaluated split with images and labels as large as the trial's."""
    if not measure.images.protocol.resizes:
        return measure.images
    settings = measure.settings
    return open_target_labelled(settings.data, settings.training.eval_split, cache)


def _for_details(settings: Settings, held_out: OpenedLabelledImages) -> OpenedLabelledImages:
    """The images of the figures beside mIoU: all, or as many as the settings ask for."""
    most = settings.evaluation.detail_images
    return EvenSubset(held_out, most) if most else held_out


def _refuse_nan(settings: Settings, entropy: float) -> None:
    """Refuse predictions that are not finite, as very large weights give them.

    Raises:
        DivergenceError: the mean entropy of the predictions is not finite.
    """
    if not math.isfinite(entropy):
        training = settings.training
        adapts = settings.method.adapts
        iteration = training.iterations if adapts else settings.source.source_iterations
        rates = rates_of(settings) if adapts else "source_lr"
        raise DivergenceError(iteration, training.seed, entropy, rates)


def _adapted(
    settings: Settings,
    adaptation: Adapted,
    log: TrainingLog,
    measure: Callable[[SegmentationNetwork], dict[str, Any]],
) -> dict[str, Any]:
    student, teacher = adaptation.student, adaptation.teacher
    scores = {"student": measure(student)}
    scores["teacher"] = scores["student"] if teacher is student else measure(teacher)
    return {
        **scores[settings.training.evaluated],
        **scores,
        "iteration": settings.training.iterations,
        "curve": _finite(log.curve),
        "watch": log.watch,
        "collapsed": has_collapsed(log.watch),
        "banked": log.banked if settings.method.mocm else None,
        **log.parts,
    }


def _finite(curve: Curve) -> Curve:
    # A learning rate may be all behind the sixth digit.
    return [
        {name: value if name == "rate" else round(value, 6) for name, value in point.items()}
        for point in curve
    ]


def _baseline_network(
    settings: Settings,
    source: SegmentationNetwork,
    cache: Path,
    device: torch.device,
    classes: Correspondence,
    progress: Progress | None,
    checkpoint: TrainingCheckpoint | None,
) -> SegmentationNetwork:
    """The source model as it is, with the target's batch norm, or trained on target labels."""
    if settings.method.procedure == "adapt":
        return source
    network = copy.deepcopy(source)
    if settings.method.procedure == "adabn":
        refuse_without_batch_norm(settings.method, network)
        images = open_target_images(settings.data, cache)
        batches = told(full_batches(images, device), progress, "AdaBN", len(images))
        adapt_batch_norm(network, batches, share=settings.method.adabn_share)
        return network
    labelled = open_target_labelled(settings.data, "train", cache)
    return train_oracle(network, labelled, settings, progress, checkpoint, classes)


def _on_source(
    settings: Settings,
    network: SegmentationNetwork,
    cache: Path,
    device: torch.device,
    classes: Correspondence,
) -> float | None:
    """mIoU on held-out source images, where the source has a split `val`.

    None too where the source model's classes are not those of the source images.
    """
    data = settings.data
    if not has_source_val(data):
        return None
    images = open_source(data, "val", cache)
    if data.dataset in PUBLISHED:
        images = EvenSubset(images, SOURCE_IMAGES)
    names = images.labelling.class_names
    # Source labels in the target's classes are scored as the target's are.
    onto = classes if names == classes.target else match_names(classes.source, names)
    if onto is None:
        return None
    mapping = ClassMapping.of(onto, settings.evaluation.unmatched)
    return evaluate(network, images, len(names), device, mapping=mapping).miou
