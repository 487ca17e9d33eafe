"""Peak memory of a trial on a GPU, estimated without one.

The trial's own networks, optimisers and passes run on fake tensors. These have sizes and no
contents, so that all memory is counted and nothing is computed. Three things cannot be counted and
are added as allowances: the CUDA context, the workspaces of cuDNN and cuBLAS, and the memory that
the allocator loses between blocks. The patch bank counts as full, with patches as large as a crop.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.batches import batch_size
from stvm.evaluation.evaluate import enlarged_logits, multi_scale_scores
from stvm.evaluation.label_free import SCORED_IMAGES, WATCHED_IMAGES, predict
from stvm.memory.metric_step import learning
from stvm.memory.statistics_pass import statistics_passes
from stvm.memory.tensors import (
    MemoryMeter,
    built_real,
    counting_saved,
    fake_tensors,
    gradients_of,
    size_of,
    state_of,
    values_of,
)
from stvm.method.no_patches import NoPatches
from stvm.method.photometric import no_augmentation
from stvm.networks import SegmentationNetwork, find_network, preserve_modes, upsample
from stvm.objectives.objective import TargetBatch, WholeImages
from stvm.objectives.offline_pass import takes_single_images
from stvm.settings import MethodSettings, Settings
from stvm.settings.protocols import Size, find_protocol
from stvm.source_model.loading import new_network, num_source_classes
from stvm.source_model.supervised import SupervisedTraining
from stvm.training.adaptation import build
from stvm.training.builder import Adaptation
from stvm.training.peer_builder import Adapted, PeerAdaptation
from stvm.training.starting_network import keeping_share

MIB = 2**20
ALLOWANCES = {"CUDA context": 450 * MIB, "workspaces of cuDNN and cuBLAS": 512 * MIB}
FRAGMENTS = 0.05
"""Share of the counted memory that is added for losses of the allocator."""


@dataclass(frozen=True)
class Phase:
    """Memory at the peak of one phase of a trial.

    Attributes:
        name: Name of the phase.
        parts: Bytes by their purpose.
    """

    name: str
    parts: dict[str, int]

    @property
    def counted(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())

    @property
    def peak(self) -> int:
        """Bytes of all parts with the allowances."""
        return self.counted + self.lost + sum(ALLOWANCES.values())

    @property
    def lost(self) -> int:
        """Bytes added for losses between blocks."""
        return round(self.counted * FRAGMENTS)


def phases(settings: Settings) -> list[Phase]:
    """The phases of a trial; the training of its source model comes first if there is one."""
    found, method = [], settings.method
    # Initial weights do not change the size of a network, so they are not read.
    settings = settings.replace(source_init="")
    with fake_tensors():
        if not settings.source.source_checkpoint:
            found.append(_on_labels("source training", settings, settings.source_crop()))
        source = _network(settings).eval()
        adaptation: Adapted | None = None
        # AdaBN and the oracle change a copy of the source model.
        networks = 2 if method.procedure in ("adabn", "oracle") else 1
        standing = {"weights": networks * size_of(values_of(source))}
        if method.procedure == "oracle":
            crop = (settings.training.crop_height, settings.training.crop_width)
            found.append(_on_labels("oracle training", settings, crop, values_of(source)))
        if method.adapts:
            start = _start(method, source)
            adaptation = build(settings, start, source.architecture.num_classes)
            training = _adaptation(settings, adaptation, source)
            standing = {n: size for n, size in training.parts.items() if n not in _PASSING}
            found += [training, *_offline_pass(settings, adaptation, standing)]
        found += [
            Phase(STATISTICS, parts | {_WHOLE: peak})
            for parts, peak in statistics_passes(settings, source, standing)
        ]
        found.append(_evaluation(settings, adaptation, source, standing))
    return found


OFFLINE = "offline pass"
STATISTICS = "pass for batch norm"
_ACTIVATIONS = "activations kept for the backward pass"
_TEMPORARY = "largest temporaries (logits at full size, their gradients)"
_GRADIENTS = "gradients"
_STATES = "optimiser states"
_WHOLE = "largest pass over whole images"
_PASSING = (_ACTIVATIONS, _TEMPORARY)


def _start(method: MethodSettings, source: SegmentationNetwork) -> SegmentationNetwork:
    """The network at which the adaptation starts, a copy where its statistics are others."""
    start = copy.deepcopy(source) if method.start_bn > 0 else source
    return keeping_share(method, start, source)


def _network(settings: Settings) -> SegmentationNetwork:
    """A network on fake tensors; code of others may look at values, so it builds on real ones."""
    if find_network(settings.network.network).tried:
        return built_real(partial(new_network, settings))
    return new_network(settings)


def _on_labels(name: str, settings: Settings, crop: Size, beside: Sequence[Tensor] = ()) -> Phase:
    """A training with labels on crops, with tensors of other networks in memory beside it."""
    batch, network = settings.source.source_batch, _network(settings)
    training = SupervisedTraining(network, settings, None)
    training.augment = no_augmentation
    pixels = torch.empty(batch, 3, *crop, dtype=torch.uint8)
    labels = torch.empty(batch, *crop, dtype=torch.long)
    parts = _step_parts(
        lambda iteration: training.step(pixels, labels, iteration),
        [*beside, *values_of(network)],
        [training.optimizer],
    )
    return Phase(name, parts)


def _adaptation(settings: Settings, adaptation: Adapted, source: SegmentationNetwork) -> Phase:
    if isinstance(adaptation, PeerAdaptation):
        parts = _of_objective(settings, adaptation, source)
    else:
        parts = _of_stvm(settings, adaptation, source)
    pixels = settings.data.height * settings.data.width
    parts["images of the watch"] = WATCHED_IMAGES * 3 * pixels * 4
    return Phase("adaptation", parts)


def _of_objective(
    settings: Settings, adaptation: PeerAdaptation, source: SegmentationNetwork
) -> dict[str, int]:
    training, objective = settings.training, adaptation.objective
    images = torch.empty(training.batch, 3, training.crop_height, training.crop_width)
    labels = torch.empty(images[:, 0].shape, dtype=torch.uint8)
    whole = None
    if objective.whole_images:
        pixels = torch.empty(
            len(images), 3, settings.data.height, settings.data.width, dtype=torch.uint8
        )
        whole = WholeImages(pixels, ((0, 0, 0),) * len(images))
    batch = TargetBatch(images, labels if objective.labels_offline else None, whole)
    # The noise draws values, and adds nothing to the peak.
    adaptation.objective.given = replace(objective.given, augment=no_augmentation)
    tensors = values_of(source, objective.given.start, adaptation.labelling, *adaptation.networks())
    found = []
    for number in objective.first_rounds():
        objective.enter_round(number)
        found.append(
            _step_parts(lambda it: adaptation.step(batch, it), tensors, adaptation.optimizers)
        )
    return max(found, key=lambda parts: sum(parts.values()))


def _offline_pass(settings: Settings, adaptation: Adapted, standing: dict[str, int]) -> list[Phase]:
    """The pass of an objective over whole target images, before each of its rounds."""
    if not isinstance(adaptation, PeerAdaptation):
        return []
    height, width = settings.data.height, settings.data.width
    with MemoryMeter() as live:
        objective = adaptation.objective
        together = 1 if takes_single_images(objective) else batch_size(height * width)
        images = torch.empty(together, 3, height, width)
        if adaptation.objective.label_batch(images) is None:
            return []
    # Before the first step there are no gradients, and no states of an optimiser.
    absent = (_GRADIENTS, _STATES) if adaptation.rounds == 1 else ()
    parts = {name: size for name, size in standing.items() if name not in absent}
    return [Phase(OFFLINE, parts | {_WHOLE: live.peak})]


def _of_stvm(
    settings: Settings, adaptation: Adaptation, source: SegmentationNetwork
) -> dict[str, int]:
    method, training, metric = settings.method, settings.training, adaptation.metric
    images = torch.empty(training.batch, 3, training.crop_height, training.crop_width)
    step = replace(
        adaptation.step,
        learn_metric=learning(metric) if metric else adaptation.step.learn_metric,
        select=lambda confidence, labels, doubt: torch.ones_like(confidence),
        augment=no_augmentation,
        bank=NoPatches(),
    )
    networks = [source, adaptation.step.label.network, *adaptation.networks()]
    tensors = values_of(*networks) + ([metric.proxies] if metric else [])
    parts = _step_parts(lambda iteration: step(images, iteration), tensors, adaptation.optimizers)
    if method.mocm and settings.compute.patches_on == "device":
        parts["patch bank, full"] = largest_bank(settings)
    return parts


def largest_bank(settings: Settings) -> int:
    """Bytes of the patch bank when every patch is as large as a crop.

    A pixel takes 3 bytes of image (12 if augmented images are banked), 1 of mask and 4 of
    reliability.
    """
    method, training = settings.method, settings.training
    pixel = (12 if method.patch_image == "augmented" and method.aug else 3) + 1 + 4
    patches = num_source_classes(settings) * method.buffer_size
    return patches * training.crop_height * training.crop_width * pixel


def _step_parts(
    step: Callable[[int], Any], weights: list[Tensor], optimizers: list[torch.optim.Optimizer]
) -> dict[str, int]:
    """Parts of the second step; the first one creates gradients and optimiser states."""
    step(1)
    gradients = size_of(t for optimizer in optimizers for t in gradients_of(optimizer))
    with counting_saved(weights) as saved, MemoryMeter() as live:
        # The step frees them after the student's forward pass, so they count at its peak.
        live.count(t for optimizer in optimizers for t in gradients_of(optimizer))
        step(2)
    return {
        "weights": size_of(weights),
        _STATES: size_of(t for o in optimizers for t in state_of(o)),
        _GRADIENTS: gradients,
        _ACTIVATIONS: saved.peak,
        _TEMPORARY: live.peak - saved.peak - gradients,
    }


@torch.no_grad()
def _evaluation(
    settings: Settings,
    adaptation: Adapted | None,
    source: SegmentationNetwork,
    standing: dict[str, int],
) -> Phase:
    """Passes over whole images, while the trained networks are still in memory."""
    height, width = settings.data.height, settings.data.width
    network = adaptation.student if adaptation else source
    images = torch.empty(batch_size(height * width), 3, height, width)
    protocol = find_protocol(settings.evaluation.protocol)
    entering, labels = protocol.sizes(height, width)
    graded = torch.empty(batch_size(max(map(math.prod, (entering, labels)))), 3, *entering)
    scores = multi_scale_scores if settings.evaluation.multi_scale else enlarged_logits
    with preserve_modes(network), MemoryMeter() as live:
        network.eval()
        scores(network, graded, labels, protocol).max(1)
        predict(network, images)
        if adaptation and adaptation.metric:
            embeddings = adaptation.metric.embed(network.extract(images[:1]))
            F.normalize(upsample(embeddings, (height, width)), dim=1)
    # An image to score takes three channels of float32 and its classes in int64.
    scored = SCORED_IMAGES * height * width * (3 * 4 + 8)
    parts = {"images to score": scored, _WHOLE: live.peak}
    return Phase("evaluation", standing | parts)
