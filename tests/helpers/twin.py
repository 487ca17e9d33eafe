"""A twin of the whole adaptation, written from the paper: slow, obvious, without `stvm.method`.

Numbers in brackets are the paper's sections and equations; where it is silent, the readings are
those of `docs/paper.md`. Everything is computed for every pixel; draws are replayed from
generators of the seeds that the documentation names.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as photo

from stvm.networks import SegmentationNetwork
from stvm.settings import Settings

LEARNT = ("metric_loss", "selected", "metric_pixels")
"""What the curve shows of eq. 2: its loss, the share selected, the pixels that a class gave."""


@dataclass
class Kept:
    """A banked patch, as large as its image: pixels, mask, reliability (III-D)."""

    image: Tensor
    mask: Tensor
    reliability: Tensor


def crops(s: Any, images: Any) -> Iterator[Tensor]:
    """Batches (N, 3, h, w) in [0, 1] of random crops (IV-B), each image once in an epoch."""
    count = len(images)
    for i in range(s.iterations):
        batch = []
        for position in range(i * s.batch, (i + 1) * s.batch):
            order = np.random.default_rng((s.seed, 1, position // count)).permutation(count)
            image = images.image(order[position % count])
            rng = np.random.default_rng((s.seed, 2, position))
            top = rng.integers(image.shape[0] - s.crop_height + 1)
            left = rng.integers(image.shape[1] - s.crop_width + 1)
            batch.append(image[top : top + s.crop_height, left : left + s.crop_width])
        yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255


def noise(image: Tensor, strength: float, jitter: float, blur: float) -> Tensor:
    """Colour jitter in random order and Gaussian blur, as DACS has them."""
    u = torch.rand(7).tolist()
    if u[0] < jitter:
        b, c, s = (1 - strength + 2 * strength * move for move in u[3:6])
        hue = min(0.5, strength / 2) * (2 * u[6] - 1)
        moves = [
            partial(photo.adjust_brightness, brightness_factor=b),
            partial(photo.adjust_contrast, contrast_factor=c),
            partial(photo.adjust_saturation, saturation_factor=s),
            partial(photo.adjust_hue, hue_factor=hue),
        ]
        for k in torch.randperm(4).tolist():
            image = moves[k](image)
    if u[1] < blur:
        image = photo.gaussian_blur(image, [5, 5], [0.15 + u[2]] * 2)
    return image.clamp(0, 1)


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Batch norms of a network."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


class Twin:
    """Student, teacher, metric network and patch buffers of one trial (III, Fig. 2)."""

    def __init__(
        self, settings: Settings, source: SegmentationNetwork, classes: int, images: Any
    ) -> None:
        s = self.s = SimpleNamespace(**settings.flat())
        self.classes = classes
        source = copy.deepcopy(source)
        self.fixed = [(n.running_mean.clone(), n.running_var.clone()) for n in norms(source)]
        if s.start_bn:
            self.start(source, images)
        torch.manual_seed(s.seed)
        self.student = copy.deepcopy(source).train()
        for norm in norms(self.student) if s.student_bn in ("statistics", "frozen") else []:
            norm.train(s.student_bn == "statistics").requires_grad_(False)
        for k, norm in enumerate(norms(self.student)) if s.student_bn == "share" else ():
            norm.forward = partial(self.shared, norm, k)  # type: ignore[method-assign]
        self.teacher = copy.deepcopy(source)
        self.labeller, self.follows = self.teacher, True
        if not s.mt and s.labeller == "student":
            self.labeller = self.student
        parts = (self.student.features, s.lr), (self.student.classifier, s.lr * s.head_lr_factor)
        self.rates = [rate for _, rate in parts]
        groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in parts]
        self.descent: torch.optim.Optimizer = torch.optim.SGD(
            groups, momentum=s.momentum, weight_decay=s.weight_decay, nesterov=s.momentum > 0
        )
        if s.optimizer == "adamw":
            self.descent = torch.optim.AdamW(groups, weight_decay=s.weight_decay)
        self.measures = s.mgs or s.mocm or s.metric_alongside
        with torch.random.fork_rng(enabled=not (s.mgs or s.mocm)):
            self.metric = source.new_head(s.n_f)
            self.proxies = torch.randn(classes, s.n_f, requires_grad=True)
        self.adam = torch.optim.Adam([*self.metric.parameters(), self.proxies], lr=s.metric_lr)
        self.thresholds: list[float | None] = [None] * classes
        self.buffers: list[list[Kept]] = [[] for _ in range(classes)]
        self.banked = 0
        self.pixel_draws = torch.Generator().manual_seed(s.seed)
        self.patch_draws = torch.Generator().manual_seed(s.seed + 1)

    def start(self, source: SegmentationNetwork, images: Any) -> None:
        """Statistics start_bn of the way to the target's, which are AdaBN's (one batch here)."""
        target = copy.deepcopy(source)
        for norm in norms(target):
            norm.train().momentum = 1.0
        whole = np.stack([images.image(k) for k in range(len(images))])
        with torch.no_grad():
            target(torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 255)
        a = self.s.start_bn
        for own, new in zip(norms(source), norms(target), strict=True):
            own.running_mean = (1 - a) * own.running_mean + a * new.running_mean
            own.running_var = (1 - a) * own.running_var + a * new.running_var
            own.num_batches_tracked = torch.tensor(1)

    def shared(self, norm: Any, k: int, x: Tensor) -> Tensor:
        """Student's batch norm number k: statistics start_bn of the way to the batch's."""
        a, (mean, variance), n = self.s.start_bn, self.fixed[k], x.numel() / x.shape[1]
        own = x.mean((0, 2, 3), keepdim=True)
        spread = ((x - own) ** 2).mean((0, 2, 3))
        mean = (1 - a) * mean + a * own.flatten()
        norm.running_mean = 0.9 * norm.running_mean + 0.1 * mean.detach()
        kept = (1 - a) * variance + a * spread.detach() * n / (n - 1)
        norm.running_var = 0.9 * norm.running_var + 0.1 * kept
        norm.num_batches_tracked += 1
        scale = norm.weight / torch.sqrt((1 - a) * variance + a * spread + norm.eps)
        return (x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    def rate(self, iteration: int) -> float:
        """Polynomial decay (IV-B), of both optimisers; iterations count from 1."""
        return float((1 - (iteration - 1) / self.s.iterations) ** self.s.poly_power)

    def step(self, images: Tensor, iteration: int) -> dict[str, float]:
        """One iteration on target images (N, 3, H, W); what the curve shows of it."""
        s = self.s
        for group, rate in zip(self.descent.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.rate(iteration)
        self.adam.param_groups[0]["lr"] = s.metric_lr * self.rate(iteration)
        features, labels, confidence = self.label(images)
        distances, learnt = torch.zeros_like(confidence), dict.fromkeys(LEARNT, 0.0)
        if self.measures:
            distances, learnt = self.learn_metric(features, labels, confidence)
        weights = torch.full_like(confidence, s.constant_weight)
        if s.mgs:  # (4)
            weights = 1 / (1 + torch.exp(-s.alpha * (s.beta - distances)))
        weights = weights * self.trained_on(labels, confidence)
        shown = torch.stack(
            [
                noise(image, s.aug_strength, s.aug_probability, s.blur_probability)
                if s.aug
                else image
                for image in images
            ]
        )
        mixed = [self.mix(*one) for one in zip(shown, labels, weights, strict=True)]
        x, y, w, pasted = (torch.stack(part) for part in zip(*mixed, strict=True))
        banked = shown if s.patch_image == "augmented" else images
        for one in zip(banked, labels, weights, distances, strict=True):
            self.bank(*one)
        logits = torch.cat([self.student(part) for part in x.chunk(s.accumulate)])
        own = F.log_softmax(logits, 1).gather(1, y[:, None])[:, 0]
        total = -(own * w).sum()  # (5)
        over_all = s.loss_norm == "pixels"
        loss = total / (w.numel() if over_all else w.sum())
        self.descent.zero_grad()
        loss.backward()
        self.descent.step()
        if s.mt and iteration % s.ema_period == 0:
            self.follow()
        return {
            **{"loss": float(loss.detach()), "reliability": float(weights.mean())},
            **{"distance": float(distances.mean()), "weight": float(w.mean())},
            **{"pasted": float(pasted.double().mean()), "banked": self.banked},
            "rate": self.rates[0] * self.rate(iteration) * (w.mean().item() if over_all else 1.0),
            **learnt,
        }

    @torch.no_grad()
    def label(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, pseudo-labels and their confidence, of the clean image (III-B)."""
        network = self.labeller
        usual = [norm.__dict__.get("forward") for norm in norms(network)]
        for k, norm in enumerate(norms(network)):
            norm.forward = partial(self.normalise, norm, k)  # type: ignore[method-assign]
        clean, k = images, self.s.label_scale
        if k != 1:
            size = [round(k * n) for n in clean.shape[2:]]
            images = F.interpolate(clean, size, mode="bilinear")
        features = network.extract(images)
        shares = [self.shares(network.classifier(features), clean)]
        self.follows = False
        wanted = {"single": [], "mirrored": [1.0], "scales": [1.0, 0.75, 1.25]}[self.s.label_views]
        for scale in wanted:
            seen = images
            if scale != 1:
                size = [round(scale * n) for n in images.shape[2:]]
                seen = F.interpolate(images, size, mode="bilinear")
                shares.append(self.shares(network.classifier(network.extract(seen)), clean))
            other = network.classifier(network.extract(seen.flip(3))).flip(3)
            shares.append(self.shares(other, clean))
        self.follows = True
        for norm, forward in zip(norms(network), usual, strict=True):
            del norm.forward
            if forward:
                norm.forward = forward  # type: ignore[method-assign]
        confidence, labels = torch.stack(shares).mean(0).max(1)
        return features, labels, confidence

    def shares(self, scores: Tensor, images: Tensor) -> Tensor:
        """Softmax of scores (N, C, h, w) at the size of the images."""
        return F.interpolate(scores, images.shape[2:], mode="bilinear").softmax(1)

    def normalise(self, norm: Any, k: int, x: Tensor) -> Tensor:
        """A batch norm of the labelling pass: running or batch statistics; some follow first."""
        mean, variance = x.mean((0, 2, 3)), ((x - x.mean((0, 2, 3), True)) ** 2).mean((0, 2, 3))
        n = x.numel() / x.shape[1]
        unbiased = variance * n / (n - 1)
        if self.s.student_bn == "share":
            a, fixed = self.s.start_bn, self.fixed[k]
            mean = (1 - a) * fixed[0] + a * mean
            variance, unbiased = ((1 - a) * fixed[1] + a * v for v in (variance, unbiased))
        if self.s.mt and self.s.teacher_bn == "track" and self.follows:
            norm.running_mean = 0.9 * norm.running_mean + 0.1 * mean
            norm.running_var = 0.9 * norm.running_var + 0.1 * unbiased
            norm.num_batches_tracked += self.s.labeller_bn == "batch"
        if self.s.labeller_bn == "eval":
            mean, variance = norm.running_mean, norm.running_var
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        return (x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    def learn_metric(
        self, features: Tensor, labels: Tensor, confidence: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Distances before the update; loss of eq. 2, pixels selected and of each class (III-C)."""
        s = self.s
        for frame, own in zip(confidence, labels, strict=True):
            for c in own.unique().tolist():
                now = float(np.quantile(frame[own == c].numpy(), 1 - s.q_m))
                old, m = self.thresholds[c], s.threshold_momentum
                self.thresholds[c] = now if old is None else m * old + (1 - m) * now
        ids, sure = labels.numpy(), confidence.numpy()
        above = [p for p in np.ndindex(*ids.shape) if sure[p] > self.thresholds[ids[p]]]  # (1)
        maps = F.interpolate(self.metric(features), labels.shape[1:], mode="bilinear")
        unit = (maps / maps.norm(dim=1, keepdim=True))[:, None]
        proxies = (self.proxies / self.proxies.norm(dim=1, keepdim=True))[None, :, :, None, None]
        d = ((unit - proxies) ** 2).sum(2)  # (3), (N, C, H, W)
        distances = d.detach().gather(1, labels[:, None])[:, 0]
        shuffled = [above[k] for k in torch.randperm(len(above), generator=self.pixel_draws)]
        sample = self.equal_numbers(shuffled, ids)
        share = len(above) / labels.numel()
        if not sample:
            return distances, dict(zip(LEARNT, (0.0, share, 0.0), strict=True))
        terms = []
        for n, y, x in sample:
            e = torch.exp(-d[n, :, y, x] / s.temperature)
            terms.append(-torch.log(e[ids[n, y, x]] / e.sum()))
        loss = torch.stack(terms).mean()  # (2)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        each = max(Counter(ids[p] for p in sample).values())
        return distances, dict(zip(LEARNT, (float(loss.detach()), share, each), strict=True))

    def equal_numbers(self, pixels: list[Any], ids: Any) -> list[Any]:
        """As many of each class: as of the rarest, at most the limit; or the limit, repeated."""
        s = self.s
        groups = [[p for p in pixels if ids[p] == c] for c in range(self.classes)]
        groups = [group for group in groups if len(group) >= max(s.metric_floor, 1)]
        if s.metric_balance == "repeat":
            return [g[k % len(g)] for g in groups for k in range(s.pixels_per_class)]
        each = min([s.pixels_per_class, *(len(group) for group in groups)])
        return [p for group in groups for p in group[:each]]

    def trained_on(self, labels: Tensor, confidence: Tensor) -> Tensor:
        """1 for the most confident share of each class of an image, or of the image (Fig. 1)."""
        s, kept = self.s, torch.ones_like(confidence)
        for n in range(len(labels)):
            by_class = [labels[n] == c for c in labels[n].unique()]
            for group in by_class if s.pseudo_label_by == "class" else [labels[n] >= 0]:
                least = np.quantile(confidence[n][group].numpy(), 1 - s.pseudo_label_share)
                kept[n][group & (confidence[n] < least)] = 0
        return kept

    def mix(self, image: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """Paste one patch of each of N_MOCM classes onto image, label and reliability (III-D).

        Also which pixels are pasted over.
        """
        image, label, weight = image.clone(), label.clone(), weight.clone()
        pasted = torch.zeros_like(label, dtype=torch.bool)
        if not self.s.mocm:
            return image, label, weight, pasted
        filled = [c for c in range(self.classes) if self.buffers[c]]
        drawn = torch.randperm(len(filled), generator=self.patch_draws)[: self.s.n_mocm].tolist()
        where = torch.rand(len(drawn), generator=self.patch_draws).tolist()
        patches = [
            (filled[k], self.buffers[filled[k]][int(u * len(self.buffers[filled[k]]))])
            for k, u in zip(drawn, where, strict=True)
        ]
        if self.s.patch_order == "large_first":
            patches.sort(key=lambda one: -int(one[1].mask.sum()))
        for c, patch in patches:
            image[:, patch.mask] = patch.image[:, patch.mask]
            label[patch.mask] = c
            weight[patch.mask] = patch.reliability[patch.mask]
            pasted |= patch.mask
        return image, label, weight, pasted

    def bank(self, image: Tensor, label: Tensor, weight: Tensor, distance: Tensor) -> None:
        """Keep the regions that are near their class's proxy; first in, first out (III-D)."""
        s = self.s
        for c in range(self.classes) if s.mocm else []:
            parts, number = (label == c).int().numpy(), 1
            if s.patch_unit == "component":
                parts, number = ndimage.label(parts)
            for part in range(1, number + 1):
                mask = torch.from_numpy(parts == part)
                if not mask.any() or mask.sum() > s.patch_max_cover * mask.numel():
                    continue
                if distance[mask].mean() < s.tau_mocm:
                    kept = Kept(image.clone(), mask, weight.clone())
                    self.banked += 1
                    self.buffers[c] = [*self.buffers[c], kept][-s.buffer_size :]

    @torch.no_grad()
    def follow(self) -> None:
        """The teacher moves towards the student by the smoothing factor (III-B, IV-B)."""
        s, m = self.s, self.s.ema_momentum
        for own, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            own.copy_((1 - m) * own + m * new)
        for own, new in zip(norms(self.teacher), norms(self.student), strict=True):
            if s.teacher_bn in ("copy", "ema"):
                m = 1.0 if s.teacher_bn == "copy" else s.ema_momentum
                own.running_mean = (1 - m) * own.running_mean + m * new.running_mean
                own.running_var = (1 - m) * own.running_var + m * new.running_var
                own.num_batches_tracked = new.num_batches_tracked.clone()
