"""An adaptation to images without any labels: training, and what changed in the predictions."""

from dataclasses import dataclass
from typing import Any

import torch

from stvm.data.images import Images
from stvm.evaluation.collapse import has_collapsed
from stvm.evaluation.label_free import SCORED_IMAGES, information, load_even_subset, predict
from stvm.networks import SegmentationNetwork
from stvm.settings import Settings
from stvm.training.adaptation import TrainingLog, adapt
from stvm.training.loop import Progress
from stvm.training.peer_builder import Adapted
from stvm.training.resume import TrainingCheckpoint


@dataclass(frozen=True)
class PhotoOutcome:
    """The findings of an adaptation that no label can measure.

    Attributes:
        adaptation: all networks after the last iteration.
        network: the one reported, in eval mode.
        log: record of the training.
        changes: differences between the source model's predictions and the network's.
    """

    adaptation: Adapted
    network: SegmentationNetwork
    log: TrainingLog
    changes: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """Entries of a file about the adaptation."""
        return {
            **{"collapsed": has_collapsed(self.log.watch), "changes": self.changes},
            **self.log.parts,
        }


def adapt_to_photos(
    settings: Settings,
    source: SegmentationNetwork,
    images: Images,
    progress: Progress | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> PhotoOutcome:
    """Adapt a source model to images without labels.

    Args:
        settings: settings that adapt a student; those of the data are not read.
        source: source model on the device to train on; it is not changed.
        images: unlabelled images of one size.
        progress: function that is told how far the training is.
        checkpoint: place of the saved state, from which an interrupted training resumes.

    Raises:
        DivergenceError: a loss that is not finite.
        StvmError: the network lacks batch norm that the settings need, or a state that cannot be
            written.
    """
    classes = source.architecture.num_classes
    adaptation, log = adapt(settings, source, images, classes, progress, checkpoint)
    network = adaptation.reported(settings.training.evaluated).eval()
    return PhotoOutcome(adaptation, network, log, compare(source, network, images))


def compare(
    before: SegmentationNetwork, after: SegmentationNetwork, images: Images
) -> dict[str, Any]:
    """Differences between the predictions of two networks on up to 64 of the images.

    Returns:
        The number of `images`; `from_to`, the share of pixels of each class before (row) and after
        (column); their sum off the diagonal, `changed`; and mean entropy and information in nats,
        each `[before, after]`. None of them says which network is better.
    """
    device = next(after.parameters()).device
    pixels = load_even_subset(images, SCORED_IMAGES, device)
    first, then = predict(before, pixels), predict(after, pixels)
    count = len(first.mean)
    pairs = (first.classes * count + then.classes).flatten()
    table = torch.bincount(pairs, minlength=count**2).reshape(count, count).cpu().double()
    table /= table.sum()
    return {
        "images": len(pixels),
        "changed": round(float(1 - table.trace()), 6),
        "from_to": [[round(share, 6) for share in row] for row in table.tolist()],
        "entropy": [round(float(seen.entropy), 6) for seen in (first, then)],
        "information": [round(float(information(seen)), 6) for seen in (first, then)],
    }
