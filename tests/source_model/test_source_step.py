"""The whole training of a source model against a slow twin, setting by setting."""

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.data.datasets import open_source
from stvm.networks import build_network
from stvm.settings import Settings, SourceSettings
from stvm.source_model.supervised import train_source
from tests.helpers.twin import noise

CLASSES = 19
BASE: dict[str, Any] = {
    **{"height": 40, "width": 56, "crop_height": 20, "crop_width": 20, "source_images": 6},
    **{"channels": 8, "source_seed": 3, "source_iterations": 4, "source_batch": 3},
    **{"source_lr": 0.05, "source_head_lr_factor": 3.0, "source_augment": 0.4},
    **{"source_scale": 0.4, "source_rare": 0.6, "source_balance": 0.7},
    **{"source_crop_height": 24, "source_crop_width": 28},
    **{"momentum": 0.8, "weight_decay": 0.01, "poly_power": 0.7},
}
SETTINGS: list[tuple[str, Any]] = [
    ("source_seed", 4),
    ("source_iterations", 3),
    ("source_batch", 2),
    ("source_accumulate", 3),
    ("source_optimizer", "adamw"),
    ("source_lr", 0.02),
    ("source_head_lr_factor", 1.0),
    ("source_augment", 0.0),
    ("source_scale", 0.0),
    ("source_rare", 0.0),
    ("source_balance", 0.0),
    ("source_crop_height", 0),
    ("source_crop_width", 0),
    ("momentum", 0.5),
    ("weight_decay", 0.1),
    ("poly_power", 0.0),
]
ELSEWHERE = {
    *("source_checkpoint", "checkpoint_family", "source_init", "source_auxiliary"),
    *("checkpoint_content", "init_content"),
}
"""Where weights come from (`tests/data/test_fingerprints.py`), and a loss that small_deeplab has
not (`tests/networks/test_networks.py`)."""


def crop(s: Any, images: Any, position: int, holders: list[Any]) -> tuple[Tensor, Tensor]:
    """Image (3, h, w) and label (h, w): a window of 1 - zoom to 1 of the crop, enlarged."""
    size = (s.source_crop_height or s.crop_height, s.source_crop_width or s.crop_width)
    epoch, place = divmod(position, len(images))
    index = np.random.default_rng((s.source_seed, 1, epoch)).permutation(len(images))[place]
    rng = np.random.default_rng((s.source_seed, 3, position))
    rare = None
    if holders and rng.random() < s.source_rare:
        rare, having = holders[rng.integers(len(holders))]
        index = rng.choice(having)
    image, label = images.image(index), images.label(index)
    share = 1 - s.source_scale * rng.random()
    height, width = (max(8, round(side * share)) for side in size)
    rows, columns = label.shape[0] - height, label.shape[1] - width
    if rare is None:
        top, left = rng.integers(rows + 1), rng.integers(columns + 1)
    else:
        spots = np.argwhere(label == rare)
        y, x = spots[rng.integers(len(spots))]
        top, left = y - rng.integers(height), x - rng.integers(width)
        top, left = min(max(top, 0), rows), min(max(left, 0), columns)
    image = image[top : top + height, left : left + width]
    label = label[top : top + height, left : left + width].copy()
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float()
    if (height, width) != size:
        pixels = F.interpolate(pixels[None], size, mode="bilinear")[0].round()
        # Nearest, by the upper left corner of each pixel.
        label = label[np.arange(size[0]) * height // size[0]][
            :, np.arange(size[1]) * width // size[1]
        ]
    return pixels / 255, torch.from_numpy(label).long()


def twin(s: Any, images: Any) -> dict[str, Tensor]:
    """Weights and buffers after the last iteration."""
    torch.manual_seed(s.source_seed)
    network = build_network("small_deeplab", s.channels, CLASSES).train()
    parts = (
        (network.features, s.source_lr),
        (
            network.classifier,
            s.source_lr * s.source_head_lr_factor,
        ),
    )
    groups = [{"params": list(part.parameters()), "lr": rate} for part, rate in parts]
    descent: torch.optim.Optimizer = torch.optim.AdamW(groups, weight_decay=s.weight_decay)
    if s.source_optimizer == "sgd":
        descent = torch.optim.SGD(
            groups, momentum=s.momentum, weight_decay=s.weight_decay, nesterov=True
        )
    counts = np.array(
        [[(images.label(i) == c).sum() for c in range(CLASSES)] for i in range(len(images))]
    )
    holders = [(c, np.flatnonzero(counts[:, c] >= 8)) for c in range(CLASSES)]
    holders = [(c, having) for c, having in holders if len(having)] if s.source_rare else []
    room = (counts > 0).sum(0) * images.label(0).size
    frequency = [counts[:, c].sum() / room[c] if room[c] else None for c in range(CLASSES)]
    # Of an even number of classes torch's median is the lower of the two in the middle.
    seen = sorted(f for f in frequency if f is not None)
    middle = seen[(len(seen) - 1) // 2]
    weights = torch.tensor([(middle / f) ** s.source_balance if f else 1.0 for f in frequency])
    torch.empty((), dtype=torch.int64).random_()  # torch's loader draws a seed when it begins
    for i in range(s.source_iterations):
        for group, (_, rate) in zip(descent.param_groups, parts, strict=True):
            group["lr"] = rate * (1 - i / s.source_iterations) ** s.poly_power
        positions = range(i * s.source_batch, (i + 1) * s.source_batch)
        pairs = [crop(s, images, p, holders) for p in positions]
        x, y = (torch.stack(part) for part in zip(*pairs, strict=True))
        if s.source_augment:
            x = torch.stack([noise(image, s.source_augment, 0.8, 0.5) for image in x])
        logits = torch.cat([network(part) for part in x.chunk(s.source_accumulate)])
        own = -F.log_softmax(logits, 1).gather(1, y[:, None].clamp(max=CLASSES - 1))[:, 0]
        w = weights[y.clamp(max=CLASSES - 1)] * (y != 255)
        loss = (own * w).sum() / w.sum()
        descent.zero_grad()
        loss.backward()
        descent.step()
    return network.state_dict()


@lru_cache
def trained(cache: Path, settings: Settings) -> dict[str, Tensor]:
    return train_source(settings, cache, torch.device("cpu")).state_dict()


@pytest.mark.parametrize(("setting", "value"), [("", None), *SETTINGS])
def test_a_source_model_is_its_twin_whatever_setting_is_changed(
    setting: str, value: Any, cache: Path
) -> None:
    changes = {setting: value} if setting else {}
    settings = Settings().replace(**(BASE | changes))
    found = trained(cache, settings)
    images = open_source(settings.data, "train", cache)
    expected = twin(SimpleNamespace(**settings.flat()), images)
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=2e-3, atol=2e-4, msg=name)
    if setting:
        base = trained(cache, Settings().replace(**BASE))
        assert any(not torch.allclose(found[k], base[k], rtol=0.02, atol=2e-3) for k in base)


def test_the_table_above_leaves_no_setting_out() -> None:
    named = {setting for setting, _ in SETTINGS}
    assert named | ELSEWHERE >= set(SourceSettings.model_fields)
