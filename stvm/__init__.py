"""STvM: self-training via metric learning for source-free domain adaptation.

The parts of the paper can be used alone, `from stvm import PatchBank` for instance. Each name is
imported when it is first used, so that `import stvm` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stvm.errors import StvmError
    from stvm.evaluation.miou import confusion_matrix, miou
    from stvm.evaluation.silhouette_score import silhouette_score
    from stvm.method.adabn import adapt_batch_norm
    from stvm.method.losses import weighted_cross_entropy
    from stvm.method.mean_teacher import Labeller, MeanTeacher
    from stvm.method.metric_network import MetricLearner, MetricOutput
    from stvm.method.no_patches import NoPatches
    from stvm.method.patches import PatchBank
    from stvm.method.photometric import PhotometricAugmentation
    from stvm.method.proxy_loss import proxy_nca_loss
    from stvm.method.reliability import reliability
    from stvm.method.step import AdaptationStep, StepReport
    from stvm.method.thresholds import ClassThresholds
    from stvm.networks.segmentation_network import SegmentationNetwork
    from stvm.networks.wrapping import wrap_network

__version__ = "0.1.0"

_MODULES = {
    "AdaptationStep": "stvm.method.step",
    "ClassThresholds": "stvm.method.thresholds",
    "Labeller": "stvm.method.mean_teacher",
    "MeanTeacher": "stvm.method.mean_teacher",
    "MetricLearner": "stvm.method.metric_network",
    "MetricOutput": "stvm.method.metric_network",
    "NoPatches": "stvm.method.no_patches",
    "PatchBank": "stvm.method.patches",
    "PhotometricAugmentation": "stvm.method.photometric",
    "SegmentationNetwork": "stvm.networks.segmentation_network",
    "StepReport": "stvm.method.step",
    "StvmError": "stvm.errors",
    "adapt_batch_norm": "stvm.method.adabn",
    "confusion_matrix": "stvm.evaluation.miou",
    "miou": "stvm.evaluation.miou",
    "proxy_nca_loss": "stvm.method.proxy_loss",
    "reliability": "stvm.method.reliability",
    "silhouette_score": "stvm.evaluation.silhouette_score",
    "weighted_cross_entropy": "stvm.method.losses",
    "wrap_network": "stvm.networks.wrapping",
}
"""Module of each public name."""

__all__ = [
    "AdaptationStep",
    "ClassThresholds",
    "Labeller",
    "MeanTeacher",
    "MetricLearner",
    "MetricOutput",
    "NoPatches",
    "PatchBank",
    "PhotometricAugmentation",
    "SegmentationNetwork",
    "StepReport",
    "StvmError",
    "__version__",
    "adapt_batch_norm",
    "confusion_matrix",
    "miou",
    "proxy_nca_loss",
    "reliability",
    "silhouette_score",
    "weighted_cross_entropy",
    "wrap_network",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'stvm' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names beside what is loaded."""
    return sorted({*globals(), *__all__})
