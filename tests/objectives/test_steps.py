"""Steps of the online objectives: what moves, and twins written from the specifications."""

import copy
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stvm.data.images import Images
from stvm.networks import SegmentationNetwork, build_network
from stvm.objectives.hardst import HardLabels
from stvm.objectives.objective import TargetBatch
from stvm.training.adaptation import adapt, build
from stvm.training.peer_builder import PeerAdaptation
from tests.helpers.tiny_settings import tiny

CLASSES = 5
RATE = 0.01


def start() -> SegmentationNetwork:
    """A network whose statistics and weights of batch norm are not those of a new one."""
    torch.manual_seed(3)
    network = build_network("small_deeplab", 16, CLASSES)
    with torch.no_grad():
        for norm in norms(network):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        for weight in network.classifier.parameters():
            weight.mul_(8)
    return network.eval()


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def built(source: SegmentationNetwork, **changes: Any) -> PeerAdaptation:
    own = {"lr": RATE, "channels": 16, "batch": 2} | changes
    made = build(tiny().replace(**own), source, CLASSES)
    assert isinstance(made, PeerAdaptation)
    return made


def crops(seed: int = 0) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def moved(network: nn.Module, before: nn.Module) -> dict[str, set[str]]:
    """Kinds of values of the network, each with "moved", "kept" or both."""
    own = {f"{n}." for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    found: dict[str, set[str]] = {}
    for name, value in network.state_dict().items():
        place, _, last = name.rpartition(".")
        kind = "weights"
        if f"{place}." in own:
            kind = "affine" if last in ("weight", "bias") else "statistics"
        same = torch.equal(value, before.state_dict()[name])
        found.setdefault(kind, set()).add("kept" if same else "moved")
    return found


@pytest.mark.parametrize(
    ("changes", "affine", "statistics", "weights"),
    [
        ({"procedure": "tent"}, "moved", "moved", "kept"),
        ({"procedure": "minent"}, "kept", "moved", "moved"),
        ({"procedure": "minent", "student_bn": "frozen"}, "kept", "kept", "moved"),
        ({"procedure": "minent", "student_bn": "train"}, "moved", "moved", "moved"),
        ({"procedure": "maxsquares"}, "moved", "moved", "moved"),
        ({"procedure": "maxsquares", "maxsquares_weight": "image"}, "moved", "moved", "moved"),
        ({"procedure": "hardst", "hardst_threshold": 0.3}, "kept", "moved", "moved"),
        ({"procedure": "hardst", "hardst_threshold": 0.3, "mt": True}, "kept", "moved", "moved"),
    ],
)
def test_what_a_step_moves(
    changes: dict[str, Any], affine: str, statistics: str, weights: str
) -> None:
    source, before = start(), start()
    made = built(source, **changes)
    made.step(TargetBatch(crops()), 1)
    expected = {"affine": {affine}, "statistics": {statistics}, "weights": {weights}}
    assert moved(made.student, before) == expected
    assert set.union(*moved(source, before).values()) == {"kept"}


def test_the_teacher_labels_and_follows() -> None:
    source = start()
    made = built(source, procedure="hardst", mt=True, ema_period=2, ema_momentum=0.5)
    assert made.labelling is made.teacher is not made.student
    assert made.reported("teacher") is made.teacher
    made.step(TargetBatch(crops()), 1)
    assert set.union(*moved(made.teacher, source).values()) == {"kept"}
    made.step(TargetBatch(crops()), 2)
    assert moved(made.teacher, source)["weights"] == {"moved"}


def shares_of(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(1, keepdim=True)


def nats(logits: Tensor) -> Tensor:
    return -(shares_of(logits) * shares_of(logits).log()).sum(1).mean()


def squares(logits: Tensor) -> Tensor:
    return -(shares_of(logits) ** 2).mean() / 2


def weighted(logits: Tensor) -> Tensor:
    shares, total = shares_of(logits), torch.zeros(())
    for image in shares:
        classes = image.argmax(0)
        for c in range(CLASSES):
            mine = classes == c
            weight = 1 / max(1.0, int(mine.sum()) ** 0.2 * mine.numel() ** 0.8)
            total = total + weight * (image[:, mine] ** 2).sum()
    return -total / (len(shares) * CLASSES)


def to_sure(threshold: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(logits: Tensor, of_source: Tensor) -> Tensor:
        chosen, labels = shares_of(of_source).max(1)
        losses = F.cross_entropy(logits, labels, reduction="none")[chosen > threshold]
        return losses.mean()

    return loss


TWINS: dict[str, tuple[dict[str, Any], Callable[..., Tensor]]] = {
    "minent": ({"procedure": "minent"}, lambda z, _: nats(z) / math.log(CLASSES)),
    "maxsquares": ({"procedure": "maxsquares"}, lambda z, _: squares(z)),
    "IW": ({"procedure": "maxsquares", "maxsquares_weight": "image"}, lambda z, _: weighted(z)),
    "hardst": ({"procedure": "hardst", "hardst_threshold": 0.6}, to_sure(0.6)),
}


@pytest.mark.parametrize("row", TWINS)
def test_two_steps_are_those_of_a_twin(row: str) -> None:
    changes, loss = TWINS[row]
    source = start()
    made = built(source, **changes, momentum=0.9, weight_decay=5e-4)
    twin = copy.deepcopy(source).train()
    for norm in norms(twin):
        norm.requires_grad_(changes["procedure"] == "maxsquares")
    groups = [
        {"params": [p for p in twin.features.parameters() if p.requires_grad], "lr": RATE},
        {"params": [p for p in twin.classifier.parameters() if p.requires_grad], "lr": 10 * RATE},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for iteration in (1, 2):
        torch.manual_seed(iteration)
        with torch.no_grad():
            of_source = source(crops(iteration))
        torch.manual_seed(iteration)
        report = made.step(TargetBatch(crops(iteration)), iteration)
        torch.manual_seed(iteration)
        value = loss(twin(crops(iteration)), of_source)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        torch.testing.assert_close(report.loss, value.detach())
    compare(made.student, twin, source)


def test_two_steps_of_tent_are_those_of_a_twin() -> None:
    source = start()
    made = built(source, procedure="tent", weight_decay=0.1)
    twin = copy.deepcopy(source).train()
    optimizer = torch.optim.Adam([p for n in norms(twin) for p in (n.weight, n.bias)], lr=RATE)
    for iteration in (1, 2):
        torch.manual_seed(iteration)
        made.step(TargetBatch(crops(iteration)), iteration)
        torch.manual_seed(iteration)
        optimizer.zero_grad()
        nats(twin(crops(iteration))).backward()
        optimizer.step()
    compare(made.student, twin, source)


def compare(student: nn.Module, twin: nn.Module, source: nn.Module) -> None:
    """The student moved as the twin did, and far more than the difference between them."""
    first = source.state_dict()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(v, first[n], atol=1e-4) for n, v in twin.state_dict().items())


class Photos(Images):
    """Three images of noise."""

    def __len__(self) -> int:
        return 3

    def image(self, index: int) -> Any:
        pixels = 255 * torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(index))
        return pixels.byte().numpy()


def test_tent_ends_with_statistics_of_all_target_images() -> None:
    made = built(start(), procedure="tent")
    images = torch.stack([torch.from_numpy(Photos().image(i)) for i in range(3)])
    whole = images.permute(0, 3, 1, 2).float() / 255
    made.objective.finish(iter([whole]))
    first = made.student.features
    seen: list[Tensor] = []
    norm = norms(first)[0]
    hook = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        made.student(whole)
    hook.remove()
    variance, mean = torch.var_mean(seen[0], dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert not made.student.training


def test_a_training_finishes_what_it_reports() -> None:
    """The statistics of TENT are measured after the last step; few steps do not reach them."""
    settings = tiny().replace(procedure="tent", iterations=2, channels=16, width=48, height=32)
    found, _ = adapt(settings, start(), Photos(), CLASSES)
    seen: list[Tensor] = []
    norm = norms(found.student)[0]
    norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        for index in range(3):
            pixels = torch.from_numpy(Photos().image(index)).permute(2, 0, 1)[None]
            found.student(pixels.float() / 255)
    variance, mean = torch.var_mean(torch.cat(seen), dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-3, atol=1e-6)


def test_a_pixel_at_the_very_threshold_has_no_label() -> None:
    def label(images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensor([[[1, 1]]]), torch.tensor([[[0.5, 0.5 + 2.0**-20]]])

    def predict(images: Tensor) -> Tensor:
        return torch.zeros(1, 2, 1, 2)

    given: Any = SimpleNamespace(label=label, predict=predict, augment=lambda x: x, parts=1)
    objective = HardLabels(given, threshold=0.5)
    (loss,) = objective.losses(TargetBatch(torch.zeros(1, 3, 1, 2)), 1)
    assert float(loss) == pytest.approx(math.log(2)) and float(objective.kept) == 0.5


def test_without_a_sure_pixel_the_loss_and_its_gradient_are_0() -> None:
    source = start()
    made = built(source, procedure="hardst", hardst_threshold=0.99999999, weight_decay=0)
    report = made.step(TargetBatch(crops()), 1)
    assert float(report.loss) == 0 and float(report.measured["kept"]) == 0
    assert moved(made.student, source)["weights"] == {"kept"}


def test_a_threshold_between_keeps_the_share_that_is_above() -> None:
    source = start()
    made = built(source, procedure="hardst", hardst_threshold=0.6)
    report = made.step(TargetBatch(crops()), 1)
    with torch.no_grad():
        sure = (shares_of(source(crops())).amax(1) > 0.6).float().mean()
    assert 0.05 < float(sure) < 0.95
    assert float(report.measured["kept"]) == pytest.approx(float(sure))


def test_parts_of_a_batch_have_one_mean_over_the_kept_pixels() -> None:
    moves = []
    for parts in (1, 2):
        made = built(
            start(), procedure="hardst", hardst_threshold=0.6, accumulate=parts, student_bn="frozen"
        )
        for module in made.student.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0
        made.step(TargetBatch(crops()), 1)
        moves.append(made.student.state_dict())
    for name, value in moves[0].items():
        torch.testing.assert_close(moves[1][name], value, rtol=1e-4, atol=1e-6)
