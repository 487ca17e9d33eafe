"""State dicts with the names that public code gives, and the logits it computes from them.

Nothing here uses the networks under test: names and shapes are written out, and the forward pass
is a function of the state dict alone, in float64.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
BLOCKS, WIDTH = (1, 2, 2, 1), 8
CAFFE_BGR = torch.tensor([104.00698793, 116.66876762, 122.67891434])
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Form:
    """How a public backbone computes."""

    strides: tuple[int, int]
    ceil: bool
    first_dilations: tuple[int, int]
    eps: float = 1e-5
    deep: bool = False


CAFFE = Form((2, 1), True, (2, 4))
TORCHVISION = Form((1, 2), False, (1, 2))
FROZEN = Form((1, 2), False, (1, 2), eps=0.0)
V1C = Form((1, 2), False, (1, 2), deep=True)


def _shapes(blocks: tuple[int, ...], width: int, deep: bool) -> Iterator[tuple[str, Any]]:
    """Convolutions with shapes, and batch norms with their channels, in the backbone's order."""
    if deep:
        for number, (i, o) in enumerate(((3, width // 2), (width // 2, width // 2), (0, width))):
            yield f"stem.{3 * number}", (o, i or width // 2, 3, 3)
            yield f"stem.{3 * number + 1}", o
    else:
        yield "conv1", (width, 3, 7, 7)
        yield "bn1", width
    inputs = width
    for layer, count in enumerate(blocks, start=1):
        planes = width * 2 ** (layer - 1)
        for block in range(count):
            name = f"layer{layer}.{block}"
            kernels = ((planes, inputs, 1), (planes, planes, 3), (4 * planes, planes, 1))
            for number, (o, i, k) in enumerate(kernels, start=1):
                yield f"{name}.conv{number}", (o, i, k, k)
                yield f"{name}.bn{number}", o
            if block == 0:
                yield f"{name}.downsample.0", (4 * planes, inputs, 1, 1)
                yield f"{name}.downsample.1", 4 * planes
            inputs = 4 * planes


def backbone(
    blocks: tuple[int, ...] = BLOCKS,
    width: int = WIDTH,
    deep: bool = False,
    counted: bool = True,
    seed: int = 0,
) -> State:
    """Random weights; `counted`: the batch norms count their batches."""
    draw = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in _shapes(blocks, width, deep):
        if isinstance(shape, tuple):
            scale = math.sqrt(2 / math.prod(shape[1:]))
            state[f"{name}.weight"] = scale * torch.randn(shape, generator=draw)
            continue
        state[f"{name}.weight"] = 0.5 + torch.rand(shape, generator=draw)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape, generator=draw)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(shape, generator=draw)
        state[f"{name}.running_var"] = 0.5 + torch.rand(shape, generator=draw)
        if counted:
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return state


def aspp(
    prefix: str,
    classes: int,
    trained: int,
    infix: str = "",
    inputs: int = 32 * WIDTH,
    stored: int = 4,
    seed: int = 1,
) -> State:
    """Branches as they are drawn, N(0, 0.01), of which the first `trained` have moved."""
    draw = torch.Generator().manual_seed(seed)
    state: State = {}
    for number in range(stored):
        weight = 0.01 * torch.randn(classes, inputs, 3, 3, generator=draw)
        bias = 0.1 * torch.randn(classes, generator=draw)
        moved = 1.3 if number < trained else 1.0
        state[f"{prefix}{number}{infix}.weight"] = moved * weight
        state[f"{prefix}{number}{infix}.bias"] = bias
    return state


def under(prefix: str, state: State) -> State:
    """The same with a prefix before each key."""
    return {prefix + key: value for key, value in state.items()}


def without(state: State, *starts: str) -> State:
    """The same without the keys that begin so."""
    return {k: v for k, v in state.items() if not k.startswith(starts)}


def features(state: State, images: Tensor, form: Form, prefix: str = "") -> tuple[Tensor, Tensor]:
    """Layers 3 and 4 of normalised images, from the state dict alone, in float64."""
    s = {k.removeprefix(prefix): v.double() for k, v in state.items() if k.startswith(prefix)}

    def norm(x: Tensor, name: str) -> Tensor:
        scale = s[f"{name}.weight"] / (s[f"{name}.running_var"] + form.eps).sqrt()
        shift = s[f"{name}.bias"] - s[f"{name}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def conv(x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = s[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None, stride, padding, dilation)

    x = images.double()
    if form.deep:
        for number, stride in ((0, 2), (3, 1), (6, 1)):
            x = norm(conv(x, f"stem.{number}", stride), f"stem.{number + 1}").relu()
    else:
        x = norm(conv(x, "conv1", 2), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=form.ceil)
    found = []
    dilations = {1: (1, 1), 2: (1, 1), 3: (form.first_dilations[0], 2)}
    dilations[4] = (form.first_dilations[1], 4)
    for layer in (1, 2, 3, 4):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in s:
            name, stride = f"layer{layer}.{block}", 2 if (layer, block) == (2, 0) else 1
            first, second = form.strides if stride == 2 else (1, 1)
            dilation = dilations[layer][min(block, 1)]
            y = norm(conv(x, f"{name}.conv1", first), f"{name}.bn1").relu()
            y = norm(conv(y, f"{name}.conv2", second, dilation), f"{name}.bn2").relu()
            y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
            block += 1
        found.append(x)
    return found[2], found[3]


def slow_aspp(
    state: State, inputs: Tensor, prefix: str, rates: tuple[int, ...], infix: str = ""
) -> Tensor:
    """The sum over branches, taps and shifts, one tap at a time, in float64."""
    height, width = inputs.shape[-2:]
    total = torch.zeros(())
    for number, rate in enumerate(rates):
        weight = state[f"{prefix}{number}{infix}.weight"].double()
        padded = F.pad(inputs.double(), (rate,) * 4)
        total = total + state[f"{prefix}{number}{infix}.bias"].double()[:, None, None]
        for row in range(3):
            for column in range(3):
                top, left = row * rate, column * rate
                shifted = padded[:, :, top : top + height, left : left + width]
                total = total + torch.einsum("oc,nchw->nohw", weight[:, :, row, column], shifted)
    return total


def caffe_input(images: Tensor) -> Tensor:
    """RGB in [0, 1] as Caffe's networks take it: BGR in 0 to 255 less the mean."""
    return images[:, [2, 1, 0]].double() * 255 - CAFFE_BGR.double()[:, None, None]


def rgb_input(images: Tensor) -> Tensor:
    """RGB in [0, 1] with ImageNet's mean and deviation."""
    return (images.double() - MEAN.double()[:, None, None]) / STD.double()[:, None, None]


def bgr_input(images: Tensor) -> Tensor:
    """As CRST has it: BGR in [0, 1] with ImageNet's mean and deviation."""
    mean, std = MEAN.flip(0).double(), STD.flip(0).double()
    return (images[:, [2, 1, 0]].double() - mean[:, None, None]) / std[:, None, None]
