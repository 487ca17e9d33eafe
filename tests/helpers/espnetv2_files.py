"""Names and shapes of EdgeNets' ESPNetv2 files, and a slow twin of the network.

Nothing here uses the networks under test: the names and shapes were read from the public files,
and the forward pass is a function of the state dict alone, in float64.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
CHANNELS = {0.5: (16, 32, 64, 128), 1.0: (32, 64, 128, 256), 2.0: (32, 128, 256, 512)}
FIELDS = {"level2_0": (1, 2, 3, 4), "level3_0": (1, 2, 3, 4), "level4_0": (1, 2, 3, 4)}
FIELDS |= {"level3": (1, 2, 3, 4), "level4": (1, 1, 2, 3)}
"""Dilations of the four branches, by level."""
SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
NORM, SLOPE, BIAS = "norm", "slope", "bias"


def layout(width: float, outputs: int, projection: int = 10) -> Iterator[tuple[str, Any, int]]:
    """Name, kind (a convolution's shape, NORM, SLOPE or BIAS) and channels of each module."""
    one, two, three, four = CHANNELS[width]
    yield from _cna("base_net.level1", one, (3, 3), ("conv", "bn", "act"))
    for name, inputs, outs in (("level2_0", one, two), ("level3_0", two, three)):
        yield from _down(f"base_net.{name}", inputs, outs)
    for number in range(3):
        yield from _unit(f"base_net.level3.{number}", three, three)
    yield from _down("base_net.level4_0", three, four)
    for number in range(7):
        yield from _unit(f"base_net.level4.{number}", four, four)
    pools = ((four, 64), (64, 48), (48, 32), (32, outputs))
    for number, (inputs, outs) in enumerate(pools, start=1):
        yield from _pool(f"bu_dec_l{number}", inputs, projection, outs, last=number == 4)
    for number, inputs, outs in ((2, three, 64), (3, two, 48), (4, one, 32)):
        name = f"merge_enc_dec_l{number}"
        yield f"{name}.wt_layer.1", (outs, inputs, 1, 1), 0
        group = inputs // math.gcd(inputs, outs)
        yield from _cna(f"{name}.expansion_layer.cbr", outs, (group, 3), "012")
        yield f"bu_br_l{number}.0", NORM, outs
        yield f"bu_br_l{number}.1", SLOPE, outs


def _cna(
    name: str, outs: int, kernel: tuple[int, int], parts: Any
) -> Iterator[tuple[str, Any, int]]:
    yield f"{name}.{parts[0]}", (outs, kernel[0], kernel[1], kernel[1]), 0
    yield f"{name}.{parts[1]}", NORM, outs
    if len(parts) == 3:
        yield f"{name}.{parts[2]}", SLOPE, outs


def _unit(name: str, inputs: int, outs: int) -> Iterator[tuple[str, Any, int]]:
    inner = outs // 4
    yield from _cna(f"{name}.proj_1x1", inner, (inputs // 4, 1), ("conv", "bn", "act"))
    for branch in range(4):
        yield f"{name}.spp_dw.{branch}.conv", (inner, 1, 3, 3), 0
    yield from _cna(f"{name}.conv_1x1_exp", outs, (inner, 1), ("conv", "bn"))
    yield f"{name}.br_after_cat.bn", NORM, outs
    yield f"{name}.br_after_cat.act", SLOPE, outs
    yield f"{name}.module_act", SLOPE, outs


def _down(name: str, inputs: int, outs: int) -> Iterator[tuple[str, Any, int]]:
    yield from _unit(f"{name}.eesp", inputs, outs - inputs)
    yield from _cna(f"{name}.inp_reinf.0", 3, (3, 3), ("conv", "bn", "act"))
    yield from _cna(f"{name}.inp_reinf.1", outs, (3, 1), ("conv", "bn"))
    yield f"{name}.act", SLOPE, outs


def _pool(
    name: str, inputs: int, projection: int, outs: int, last: bool
) -> Iterator[tuple[str, Any, int]]:
    for stage in range(5):
        yield f"{name}.stages.{stage}", (projection, 1, 3, 3), 0
    yield from _cna(f"{name}.projection_layer.cbr", projection, (inputs, 1), "012")
    yield f"{name}.merge_layer.0.br.0", NORM, 5 * projection
    yield f"{name}.merge_layer.0.br.1", SLOPE, 5 * projection
    yield from _cna(f"{name}.merge_layer.2.cbr", projection, (5, 3), "012")
    yield f"{name}.merge_layer.3", (outs, projection, 1, 1), 0
    if last:
        yield f"{name}.merge_layer.3", BIAS, outs
    else:
        yield f"{name}.br.br.0", NORM, outs
        yield f"{name}.br.br.1", SLOPE, outs


def espnetv2_state(width: float, outputs: int, projection: int = 10, seed: int = 0) -> State:
    """Random weights under the public names."""
    draw = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, kind, channels in layout(width, outputs, projection):
        if isinstance(kind, tuple):
            scale = math.sqrt(2 / math.prod(kind[1:]))
            state[f"{name}.weight"] = scale * torch.randn(kind, generator=draw)
        elif kind == NORM:
            state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=draw)
            state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=draw)
            state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=draw)
            state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=draw)
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        elif kind == SLOPE:
            state[f"{name}.weight"] = 0.5 * torch.rand(channels, generator=draw)
        else:
            state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=draw)
    return state


class Twin:
    """The network of a state dict, one tap and one window at a time.

    Args:
        state: Weights under the public names.
    """

    def __init__(self, state: State) -> None:
        self.s = {name: value.double() for name, value in state.items()}

    def norm(self, x: Tensor, name: str) -> Tensor:
        s = self.s
        scale = s[f"{name}.weight"] / (s[f"{name}.running_var"] + 1e-5).sqrt()
        shift = s[f"{name}.bias"] - s[f"{name}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def slope(self, x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * self.s[f"{name}.weight"][:, None, None])

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        """A convolution whose number of groups follows from the shapes, tap by tap."""
        weight = self.s[f"{name}.weight"]
        groups, size = x.shape[1] // weight.shape[1], weight.shape[-1]
        pad = dilation * (size // 2)
        padded = torch.nn.functional.pad(x, (pad,) * 4)
        height, width = (1 + (length - 1) // stride for length in x.shape[-2:])
        total = torch.zeros(())
        for row in range(size):
            for column in range(size):
                top, left = row * dilation, column * dilation
                seen = padded[:, :, top:, left:][:, :, ::stride, ::stride][..., :height, :width]
                grouped = seen.unflatten(1, (groups, -1))
                taps = weight[:, :, row, column].unflatten(0, (groups, -1))
                total = total + torch.einsum("goc,ngchw->ngohw", taps, grouped).flatten(1, 2)
        return total

    def cna(self, x: Tensor, name: str, parts: Any, stride: int = 1) -> Tensor:
        x = self.norm(self.conv(x, f"{name}.{parts[0]}", stride), f"{name}.{parts[1]}")
        return self.slope(x, f"{name}.{parts[2]}") if len(parts) == 3 else x

    def unit(self, x: Tensor, name: str, level: str, stride: int = 1) -> Tensor:
        reduced = self.cna(x, f"{name}.proj_1x1", ("conv", "bn", "act"))
        branches = [
            self.conv(reduced, f"{name}.spp_dw.{number}.conv", stride, dilation)
            for number, dilation in enumerate(FIELDS[level])
        ]
        sums = [torch.stack(branches[: k + 1]).sum(0) for k in range(4)]
        joined = self.norm(torch.cat(sums, 1), f"{name}.br_after_cat.bn")
        joined = self.slope(joined, f"{name}.br_after_cat.act")
        merged = self.cna(joined, f"{name}.conv_1x1_exp", ("conv", "bn"))
        return merged if stride == 2 else self.slope(merged + x, f"{name}.module_act")

    def down(self, x: Tensor, image: Tensor, level: str) -> Tensor:
        name = f"base_net.{level}"
        shortcut = self.cna(image, f"{name}.inp_reinf.0", ("conv", "bn", "act"))
        shortcut = self.cna(shortcut, f"{name}.inp_reinf.1", ("conv", "bn"))
        joined = torch.cat([mean3(x), self.unit(x, f"{name}.eesp", level, 2)], 1)
        return self.slope(joined + shortcut, f"{name}.act")

    def pool(self, x: Tensor, name: str) -> Tensor:
        x = self.cna(x, f"{name}.projection_layer.cbr", "012")
        height, width = x.shape[-2:]
        maps = []
        for number, scale in enumerate(SCALES):
            stage = f"{name}.stages.{number}"
            other = tuple(max(5, math.ceil(length * scale)) for length in (height, width))
            if scale > 1:
                maps.append(windows(self.conv(corners(x, other), stage), (height, width)))
            elif scale < 1:
                maps.append(corners(self.conv(windows(x, other), stage), (height, width)))
            else:
                maps.append(self.conv(x, stage))
        joined = self.norm(torch.cat(maps, 1), f"{name}.merge_layer.0.br.0")
        joined = self.slope(joined, f"{name}.merge_layer.0.br.1")
        projection = x.shape[1]
        order = [five * projection + k for k in range(projection) for five in range(5)]
        out = self.cna(joined[:, order], f"{name}.merge_layer.2.cbr", "012")
        out = self.conv(out, f"{name}.merge_layer.3")
        if f"{name}.merge_layer.3.bias" in self.s:
            return out + self.s[f"{name}.merge_layer.3.bias"][:, None, None]
        return self.slope(self.norm(out, f"{name}.br.br.0"), f"{name}.br.br.1")

    def merge(self, encoded: Tensor, decoded: Tensor, number: int) -> Tensor:
        name = f"merge_enc_dec_l{number}"
        weights = self.conv(encoded.mean((2, 3), keepdim=True), f"{name}.wt_layer.1").sigmoid()
        projected = self.cna(encoded, f"{name}.expansion_layer.cbr", "012") * weights
        both = projected + corners(decoded, tuple(encoded.shape[-2:]))
        return self.slope(self.norm(both, f"bu_br_l{number}.0"), f"bu_br_l{number}.1")

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> features (N, 32, H / 2, W / 2)."""
        small = [images]
        for _ in range(4):
            small.append(mean3(small[-1]))
        half = self.cna(images, "base_net.level1", ("conv", "bn", "act"), 2)
        quarter = self.down(half, small[2], "level2_0")
        eighth = self.down(quarter, small[3], "level3_0")
        for number in range(3):
            eighth = self.unit(eighth, f"base_net.level3.{number}", "level3")
        deepest = self.down(eighth, small[4], "level4_0")
        for number in range(7):
            deepest = self.unit(deepest, f"base_net.level4.{number}", "level4")
        decoded = self.merge(eighth, self.pool(deepest, "bu_dec_l1"), 2)
        decoded = self.merge(quarter, self.pool(decoded, "bu_dec_l2"), 3)
        return self.merge(half, self.pool(decoded, "bu_dec_l3"), 4)

    def logits(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) -> all outputs (N, K, H / 2, W / 2)."""
        return self.pool(self.features(images), "bu_dec_l4")


def mean3(x: Tensor) -> Tensor:
    """Sums of 3x3 pixels over 9 at every second pixel, zeros outside."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    rows = [padded[..., top : top + x.shape[-2] : 2, :] for top in range(3)]
    total = torch.stack(rows).sum(0)
    columns = [total[..., left : left + x.shape[-1] : 2] for left in range(3)]
    return torch.stack(columns).sum(0) / 9


def windows(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over windows from floor(i h / H) to ceil((i + 1) h / H)."""
    for axis, target in ((2, size[0]), (3, size[1])):
        length = x.shape[axis]
        starts = [i * length // target for i in range(target)]
        ends = [-(-(i + 1) * length // target) for i in range(target)]
        means = [x.narrow(axis, a, b - a).mean(axis) for a, b in zip(starts, ends, strict=True)]
        x = torch.stack(means, axis)
    return x


def corners(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Linear interpolation along each axis; the first and last pixels keep their values."""
    for axis, target in ((2, size[0]), (3, size[1])):
        length, found = x.shape[axis], []
        for i in range(target):
            at = i * (length - 1) / (target - 1) if target > 1 else 0.0
            low = min(int(at), length - 1)
            high = min(low + 1, length - 1)
            found.append(x.select(axis, low) * (1 - at + low) + x.select(axis, high) * (at - low))
        x = torch.stack(found, axis)
    return x
