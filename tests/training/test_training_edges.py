"""What trainings share, at its edges: when it looks, what it calls diverged, where it begins."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stvm.data.batches import full_batches
from stvm.data.cityscapes import CITYSCAPES
from stvm.data.images import OpenedLabelledImages
from stvm.data.labelling import Labelling
from stvm.data.streets.street_images import ArrayImages, LabelledArrays
from stvm.errors import DivergenceError
from stvm.method.adabn import adapt_batch_norm
from stvm.method.optimizer_step import descend
from stvm.networks import SegmentationNetwork, build_network
from stvm.settings import TrainingSettings
from stvm.source_model import supervised
from stvm.source_model.supervised import train_oracle
from stvm.training.adaptation import Training, adapt
from stvm.training.divergence import DivergenceMonitor
from stvm.training.optim import make_optimizer
from stvm.training.seeding import seed_everything
from tests.helpers.tiny_settings import tiny

CPU = torch.device("cpu")
NAN = torch.tensor(float("nan"))


def source() -> SegmentationNetwork:
    torch.manual_seed(0)
    return build_network("small_deeplab", 16, 19)


def pixels(count: int, side: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def watch(losses: dict[int, Tensor], until: int) -> DivergenceMonitor:
    made = DivergenceMonitor(4, CPU, "lr or metric_lr")
    for iteration in range(1, until + 1):
        made.check_loss(iteration, losses.get(iteration, torch.tensor(1.0)))
    return made


def test_a_loss_that_is_not_finite_is_told_every_50_iterations_and_the_first_is_named() -> None:
    losses = {3: torch.tensor(float("inf")), 7: NAN}
    kept = watch(losses, 49)
    with pytest.raises(DivergenceError, match="lower lr or metric_lr") as error:
        kept.check_loss(50, torch.tensor(1.0))
    assert "inf" in str(error.value) and "iteration 3" in str(error.value)
    again = DivergenceMonitor(4, CPU, "lr or metric_lr")
    again.load_state_dict(kept.state_dict())
    with pytest.raises(DivergenceError, match="iteration 3"):
        again.check()
    watch({}, 100).check()


@pytest.mark.parametrize(("iteration", "blamed"), [(1, False), (2, True)])
def test_a_rate_is_blamed_only_once_there_was_an_update(iteration: int, blamed: bool) -> None:
    with pytest.raises(DivergenceError) as error:
        watch({iteration: NAN}, iteration).check()
    assert ("lower lr" in str(error.value)) == blamed


def test_a_weight_or_a_buffer_that_is_not_finite_after_the_last_update_is_told() -> None:
    sound = watch({}, 5)
    sound.check_weights(5, source(), source())
    for name in ("weight", "running_var"):
        broken = source()
        norm = next(m for m in broken.modules() if isinstance(m, nn.BatchNorm2d))
        getattr(norm, name).data[2] = torch.inf
        with pytest.raises(DivergenceError, match="iteration 5"):
            sound.check_weights(5, source(), broken)


def test_seeds_of_any_size_seed_all_three_generators() -> None:
    drawn = []
    for seed in (5, 2**32 + 5, 6, 2**31 + 5):
        seed_everything(seed)
        drawn.append((random.random(), np.random.random(), float(torch.rand(()))))
    assert drawn[0][1] == drawn[1][1]
    for other in drawn[2:]:
        assert all(a != b for a, b in zip(drawn[0], other, strict=True))
    seed_everything(5)
    assert (random.random(), np.random.random(), float(torch.rand(()))) == drawn[0]


def test_on_the_cpu_the_step_is_the_one_that_trials_were_recorded_with() -> None:
    made = make_optimizer(source(), TrainingSettings(momentum=0.9))
    assert made.defaults["fused"] is None and made.defaults["nesterov"]
    assert not make_optimizer(source(), TrainingSettings(momentum=0.0)).defaults["nesterov"]


def test_a_step_goes_down_the_sum_of_its_losses_and_forgets_the_last_one() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    plain = torch.optim.SGD([weight], lr=0.1)
    for expected in (0.4, -0.2):
        # The slope of w + 2 w + 3 w is 6.
        loss = descend(plain, (factor * weight for factor in (1.0, 2.0, 3.0)))
        assert weight.item() == pytest.approx(expected, abs=1e-6) and not loss.requires_grad
    assert loss.item() == pytest.approx(6 * 0.4, abs=1e-6)


@pytest.mark.parametrize(("iterations", "every"), [(20, 1), (79, 1), (80, 2), (1560, 39)])
def test_a_curve_has_forty_points_or_one_an_iteration(iterations: int, every: int) -> None:
    made = Training(tiny(iterations=iterations), source(), ArrayImages(pixels(2)), 19)
    assert made.every == every


def test_the_course_begins_with_the_source_model_and_says_the_rate_of_the_backbone() -> None:
    off = {"aug": False, "mt": False, "mgs": False, "mocm": False, "labeller": "student"}
    settings = tiny(iterations=3, lr=0.01, head_lr_factor=5.0, poly_power=1.0, **off)
    seen: list[tuple[int, int]] = []
    _, log = adapt(
        *(settings, source(), ArrayImages(pixels(4)), 19),
        lambda done, total, watch=None: seen.append((done, total)),
    )
    assert [point["iteration"] for point in log.watch] == [0, 1, 2, 3]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [point["rate"] for point in log.curve] == pytest.approx([0.01, 0.01 * 2 / 3, 0.01 / 3])


def test_adabn_averages_over_batches_of_eight_and_over_fewer_where_there_are_no_more() -> None:
    for count, starts in ((17, (0, 8)), (5, (0,))):
        network, images = source().eval(), pixels(count)
        conv, norm = network.features[0], network.features[1]  # type: ignore[index]
        graphs: list[bool] = []
        norm.register_forward_hook(lambda *_, g=graphs: g.append(torch.is_grad_enabled()))
        means = []
        for start in starts:
            batch = torch.from_numpy(images[start : start + 8]).permute(0, 3, 1, 2) / 255
            means.append(conv((batch - network.mean) / network.std).detach().mean((0, 2, 3)))
        adapt_batch_norm(network, full_batches(ArrayImages(images), CPU))
        torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
        assert graphs == [False] * len(starts)


def test_an_oracle_draws_by_the_seed_after_its_source_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = np.random.default_rng(1).integers(0, 19, (4, 64, 64), dtype=np.uint8)
    told: list[tuple[int, int]] = []
    seeds: list[int] = []
    monkeypatch.setattr(supervised, "seed_everything", seeds.append)
    arrays = LabelledArrays(pixels(4, 64), ids)
    images = OpenedLabelledImages(arrays, arrays, Labelling(CITYSCAPES))
    made = train_oracle(
        *(source(), images, tiny(source_seed=3, source_iterations=2)),
        lambda done, total, watch: told.append((done, total)),
    )
    assert told == [(1, 2), (2, 2)] and seeds == [4] and not made.training
