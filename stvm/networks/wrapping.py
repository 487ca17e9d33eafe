"""Any feature extractor and classifier as a `SegmentationNetwork`."""

import copy
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.networks.normalisation import NORMALISATIONS, Normalisation
from stvm.networks.segmentation_network import SegmentationNetwork

_IMAGENET = NORMALISATIONS["rgb_imagenet"]


class OneFeatureMap(nn.Module):
    """A feature extractor whose output is one tensor.

    torchvision's backbones give a dictionary, whose entry "out" is taken.

    Args:
        module: Feature extractor, images (N, 3, H, W) -> features (N, D, h, w).
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features (N, D, h, w)."""
        found: Tensor | Mapping[str, Tensor] = self.module(images)
        if isinstance(found, Tensor):
            return found
        if not isinstance(found, Mapping) or "out" not in found:
            held = ", ".join(found) if isinstance(found, Mapping) else type(found).__name__
            raise StvmError(
                f"wrap_network: features give {held} in place of one tensor or a dictionary with "
                "'out': give a module that returns the classifier's input as one tensor"
            )
        return found["out"]


def wrap_network(
    *,
    features: nn.Module,
    classifier: nn.Module,
    head: Callable[[int], nn.Module] | None = None,
    mean: tuple[float, float, float] = _IMAGENET.mean,
    std: tuple[float, float, float] = _IMAGENET.std,
    bgr: bool = False,
) -> SegmentationNetwork:
    """Any two modules as the network that the parts of this library take.

    Its input is images in [0, 1], which are normalised with `mean` and `std`; its output is logits
    at the size of the images. The modules are shared and not copied.

    Args:
        features: Feature extractor, normalised images (N, 3, H, W) -> features (N, D, h, w), or a
            dictionary whose entry "out" is these.
        classifier: Classifier, features (N, D, h, w) -> logits (N, C, h, w).
        head: Function that makes a head with a given number of outputs, for the metric network. By
            default a copy of the classifier with random weights, whose last convolution has that
            number of outputs.
        mean: RGB mean of the images, in [0, 1]; ImageNet's by default.
        std: RGB standard deviation of the images, in [0, 1]; ImageNet's by default.
        bgr: Whether the features take the channels in the order blue, green, red.

    Returns:
        The network; its `new_head` makes metric networks.
    """
    normalisation = Normalisation("wrapped", mean, std, bgr)
    make = head or partial(head_like, classifier)
    return SegmentationNetwork(
        None, OneFeatureMap(features), classifier, make, normalisation=normalisation
    )


def head_like(classifier: nn.Module, out_channels: int) -> nn.Module:
    """A copy of a classifier with random weights and another number of outputs.

    Weights of modules that have no `reset_parameters` stay copies of the classifier's.

    Args:
        classifier: Module whose last `nn.Conv2d`, in the order in which its modules were defined,
            gives the logits; it stays as it is.
        out_channels: Number of outputs.

    Raises:
        StvmError: The classifier has no `nn.Conv2d`.
    """
    head = nn.Sequential(copy.deepcopy(classifier))
    names = [name for name, module in head.named_modules() if isinstance(module, nn.Conv2d)]
    if not names:
        raise StvmError(
            f"wrap_network: the classifier {type(classifier).__name__} has no nn.Conv2d to take as "
            "its last layer: give head=, a function from a number of outputs to a module"
        )
    parent, _, name = names[-1].rpartition(".")
    setattr(
        head.get_submodule(parent), name, _with_outputs(head.get_submodule(names[-1]), out_channels)
    )
    for module in head.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return head[0].requires_grad_(True).train()


def _with_outputs(layer: nn.Module, out_channels: int) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return nn.Conv2d(
        layer.in_channels,
        out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        padding_mode=layer.padding_mode,
        bias=layer.bias is not None,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
