"""Any feature extractor and classifier as a `SegmentationNetwork`."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from stvm.errors import StvmError
from stvm.networks.architecture import Architecture
from stvm.networks.normalisation import NORMALISATIONS, Normalisation
from stvm.networks.segmentation_network import SegmentationNetwork

_IMAGENET = NORMALISATIONS["rgb_imagenet"]
_GIVE = "give head=, a function from a number of outputs to a module"
_PROBE = (64, 64)
"""Height and width of the image that finds the last convolution."""


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
            default a copy of the classifier with random weights, whose last convolution in the
            forward pass has that number of outputs.
        mean: RGB mean of the images, in [0, 1]; ImageNet's by default.
        std: RGB standard deviation of the images, in [0, 1]; ImageNet's by default.
        bgr: Whether the features take the channels in the order blue, green, red.

    Returns:
        The network; its `new_head` makes metric networks.
    """
    return wrapped(
        None,
        features=features,
        classifier=classifier,
        head=head,
        mean=mean,
        std=std,
        bgr=bgr,
    )


def wrapped(
    architecture: Architecture | None,
    *,
    features: nn.Module,
    classifier: nn.Module,
    head: Callable[[int], nn.Module] | None = None,
    mean: Sequence[float] = _IMAGENET.mean,
    std: Sequence[float] = _IMAGENET.std,
    bgr: bool = False,
) -> SegmentationNetwork:
    """`wrap_network` for a network that a file can describe.

    Args:
        architecture: Description that a checkpoint file keeps; None for none.
        features: See `wrap_network`, as for all that follow.
        classifier: Classifier.
        head: Function that makes a head.
        mean: RGB mean.
        std: RGB standard deviation.
        bgr: Order of the channels.

    Raises:
        ValueError: Mean or deviation are not three numbers.
    """
    (m1, m2, m3), (s1, s2, s3) = map(float, mean), map(float, std)
    normalisation = Normalisation("wrapped", (m1, m2, m3), (s1, s2, s3), bgr)
    one = OneFeatureMap(features)
    make = head or partial(head_like, classifier, features=one)
    return SegmentationNetwork(architecture, one, classifier, make, normalisation=normalisation)


def head_like(
    classifier: nn.Module, out_channels: int, features: nn.Module | None = None
) -> nn.Module:
    """A copy of a classifier with random weights and another number of outputs.

    Weights of modules that have no `reset_parameters` stay copies of the classifier's. With
    `features` a small image is passed, to find the convolution that gives the logits; without, or
    if it cannot be passed, this is the last in the order in which modules were defined.

    Args:
        classifier: Module in which an `nn.Conv2d` gives the logits; it stays as it is.
        out_channels: Number of outputs.
        features: Module that gives the classifier's input.

    Raises:
        StvmError: The classifier has no `nn.Conv2d`, or none that gives the logits.
    """
    head = nn.Sequential(copy.deepcopy(classifier))
    names = [name for name, module in head.named_modules() if isinstance(module, nn.Conv2d)]
    if not names:
        raise StvmError(
            f"wrap_network: the classifier {type(classifier).__name__} has no nn.Conv2d to take as "
            f"its last layer: {_GIVE}"
        )
    last = _last_used(head, features) or names[-1]
    parent, _, name = last.rpartition(".")
    layer = head.get_submodule(last)
    setattr(head.get_submodule(parent), name, _with_outputs(layer, out_channels))
    for module in head.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return head[0].requires_grad_(True).train()


def _last_used(head: nn.Module, features: nn.Module | None) -> str:
    """Name of the convolution that a small image passes last; empty if it cannot be passed.

    Raises:
        StvmError: The classifier's output has other channels than that convolution gives.
    """
    passed: list[tuple[str, int]] = []
    like = next(head.parameters())
    images = torch.zeros(2, 3, *_PROBE, device=like.device, dtype=like.dtype)
    hooks = [
        m.register_forward_hook(lambda _, __, out, name=name: passed.append((name, out.shape[1])))
        for name, m in head.named_modules()
        if isinstance(m, nn.Conv2d)
    ]
    parts = [part for part in (features, head) if part is not None]
    modes = [(m, m.training) for part in parts for m in part.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            scores = head.eval()(features.eval()(images)) if features else None
    except Exception:  # the modules are of others: any may come
        return ""
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    if scores is None or not passed:
        return ""
    name, channels = passed[-1]
    if channels != scores.shape[1]:
        raise StvmError(
            f"wrap_network: the classifier gives {scores.shape[1]} channels, and its last "
            f"nn.Conv2d ({name.removeprefix('0.')}) {channels}: {_GIVE}"
        )
    return name


def _with_outputs(layer: nn.Module, out_channels: int) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    if out_channels % layer.groups:
        raise StvmError(
            f"wrap_network: the classifier's last nn.Conv2d has {layer.groups} groups, which "
            f"{out_channels} outputs cannot be split into: {_GIVE}"
        )
    return nn.Conv2d(
        layer.in_channels,
        out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        layer.groups,
        padding_mode=layer.padding_mode,
        bias=layer.bias is not None,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
