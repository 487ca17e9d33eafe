"""Batch norms that keep a share of the source's statistics, against formulas in float64."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import stvm
from stvm.method.mean_teacher import Labeller, frozen_copy
from stvm.method.mixed_statistics import MixedBatchNorm, mix_statistics
from stvm.networks import build_network
from stvm.networks.forward_mode import ForwardMode

SHARE = 0.3


class WithActivation(nn.BatchNorm2d):
    """A kind of batch norm with a forward pass of its own, as `timm` has them."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


def made(kind: type[nn.BatchNorm2d] = nn.BatchNorm2d, **options: Any) -> nn.Sequential:
    """A batch norm of three channels with settled statistics, in float64."""
    torch.manual_seed(0)
    norm = kind(3, eps=0.01, momentum=0.2, **options).double()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(norm)


def by_hand(norm: nn.BatchNorm2d, x: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Output, mixed mean and mixed unbiased variance, from the formulas."""
    n = x.numel() / x.shape[1]
    mean = x.sum((0, 2, 3)) / n
    variance = ((x - mean[:, None, None]) ** 2).sum((0, 2, 3)) / n
    mean = (1 - share) * norm.running_mean + share * mean
    unbiased = (1 - share) * norm.running_var + share * variance * n / (n - 1)
    variance = (1 - share) * norm.running_var + share * variance
    y = (x - mean[:, None, None]) / torch.sqrt(variance + norm.eps)[:, None, None]
    if norm.affine:
        y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    return y, mean, unbiased


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm2d, WithActivation])
@pytest.mark.parametrize("share", [0.0, SHARE, 0.9])
def test_values_gradients_and_running_statistics_are_those_of_the_formulas(
    share: float, kind: type[nn.BatchNorm2d], affine: bool
) -> None:
    network, source = made(kind, affine=affine), made(kind, affine=affine)
    mix_statistics(network, source, share)
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    weights = torch.randn(2, 3, 4, 5, dtype=torch.double)
    expected, mean, variance = by_hand(source[0], x, share)
    expected = expected.relu() if kind is WithActivation else expected
    output = network.train()(x)
    torch.testing.assert_close(output, expected)
    inputs = [[x, *net.parameters()] for net in (network, source)]
    ours, theirs = (
        torch.autograd.grad((y * weights).sum(), over)
        for y, over in zip((output, expected), inputs, strict=True)
    )
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two)
    own, new = source[0], network[0]
    torch.testing.assert_close(new.running_mean, 0.8 * own.running_mean + 0.2 * mean)
    torch.testing.assert_close(new.running_var, 0.8 * own.running_var + 0.2 * variance)
    assert new.num_batches_tracked == 1 and new.training


def test_a_batch_norm_without_momentum_averages_over_all_batches() -> None:
    network, source = made(), made()
    network[0].momentum = None
    network[0].num_batches_tracked.zero_()
    mix_statistics(network, source, SHARE)
    batches = [torch.randn(2, 3, 4, 4, dtype=torch.double) for _ in range(3)]
    for batch in batches:
        network.train()(batch)
    mixed = torch.stack([by_hand(source[0], batch, SHARE)[1] for batch in batches])
    torch.testing.assert_close(network[0].running_mean, mixed.mean(0))


def test_eval_mode_keys_and_a_share_of_one_are_those_of_ordinary_batch_norm() -> None:
    network, source, x = made(), made(), torch.randn(2, 3, 4, 4, dtype=torch.double)
    mix_statistics(network, source, SHARE)
    assert torch.equal(network.eval()(x), source.eval()(x))
    assert network.state_dict().keys() == source.state_dict().keys()
    whole = made()
    mix_statistics(whole, source, 1.0)
    assert type(whole[0]) is nn.BatchNorm2d


def test_the_running_statistics_stay_the_share_of_the_way() -> None:
    """After many batches of one distribution; ordinary batch norm ends at its statistics."""
    network, source = made(), made()
    mix_statistics(network, source, SHARE)
    for _ in range(60):
        network.train()(5 + 3 * torch.randn(4, 3, 16, 16, dtype=torch.double))
    norm, own = network[0], source[0]
    expected = 0.7 * own.running_mean + 0.3 * 5, 0.7 * own.running_var + 0.3 * 9
    torch.testing.assert_close(norm.running_mean, expected[0], rtol=0, atol=0.05)
    torch.testing.assert_close(norm.running_var, expected[1], rtol=0.02, atol=0)


def test_copies_keep_the_share_and_an_ordinary_network_reads_their_state() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 8, 4)
    mixing = copy.deepcopy(source)
    mix_statistics(mixing, source, SHARE)
    images = torch.rand(2, 3, 32, 32)
    copies = [mixing, copy.deepcopy(mixing), frozen_copy(mixing)]
    outputs = [each.train()(images) for each in copies]
    assert all(torch.equal(outputs[0], each) for each in outputs)
    assert not torch.allclose(outputs[0], copy.deepcopy(source).train()(images))
    source.load_state_dict(mixing.state_dict())
    assert torch.equal(source.eval()(images), mixing.eval()(images))


@pytest.mark.parametrize("mode", [{"channels_last": True}, {"precision": "bfloat16"}])
def test_forward_modes_give_the_same_up_to_their_rounding(mode: dict[str, Any]) -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 8, 4)
    mix_statistics(source, copy.deepcopy(source), SHARE)
    images, forward = torch.rand(2, 3, 32, 32), ForwardMode(**mode)
    passing = forward.prepare(copy.deepcopy(source)).train()
    got, expected = forward.predict(passing)(images), source.train()(images)
    loose = 0.03 if "precision" in mode else 1e-5
    torch.testing.assert_close(got, expected, rtol=loose, atol=loose)
    for one, two in zip(passing.buffers(), source.buffers(), strict=True):
        torch.testing.assert_close(one, two, rtol=loose, atol=loose)


@pytest.mark.slow
def test_compiled_passes_give_values_and_gradients_of_plain_ones() -> None:
    network, source = made().float(), made().float()
    mix_statistics(network, source, SHARE)
    twin = copy.deepcopy(network)
    images = torch.rand(2, 3, 8, 8)
    compiled = torch.compile(network.train(), backend="aot_eager")
    for passing in (compiled, twin.train()):
        passing(images).square().mean().backward()
    for one, two in zip(network.parameters(), twin.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(one.grad, two.grad)
    assert torch.equal(network[0].running_var, twin[0].running_var)


def test_a_labeller_that_labels_with_the_batch_takes_the_share_and_moves_nothing() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 8, 4)
    mixing = frozen_copy(source)
    mix_statistics(mixing, source, SHARE)
    before = copy.deepcopy(mixing.state_dict())
    images = torch.rand(2, 3, 32, 32)
    confidence = Labeller(mixing, "batch")(images)[1]
    assert all(torch.equal(value, before[name]) for name, value in mixing.state_dict().items())
    twin = copy.deepcopy(mixing).train()
    torch.testing.assert_close(confidence, twin(images).softmax(1).amax(1))


def test_one_value_of_each_channel_and_shared_processes_are_refused() -> None:
    network = made()
    mix_statistics(network, made(), SHARE)
    with pytest.raises(stvm.StvmError, match="two images or more"):
        network.train()(torch.rand(1, 3, 1, 1, dtype=torch.double))
    # Without a share of the batch nothing is measured on it.
    mix_statistics(network, source := made(), 0.0)
    one = torch.rand(1, 3, 1, 1, dtype=torch.double)
    torch.testing.assert_close(network.train()(one), source.eval()(one))
    sync = nn.Sequential(nn.SyncBatchNorm(3))
    with pytest.raises(stvm.StvmError, match="SyncBatchNorm takes its statistics from all"):
        mix_statistics(sync, sync, SHARE)
    with pytest.raises(stvm.StvmError, match="Conv2d has no nn.BatchNorm2d"):
        mix_statistics(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), SHARE)


def test_another_share_replaces_the_one_before() -> None:
    network, source, x = made(), made(), torch.randn(2, 3, 4, 4, dtype=torch.double)
    mix_statistics(network, source, 0.9)
    mix_statistics(network, source, SHARE)
    assert isinstance(network[0], MixedBatchNorm)
    torch.testing.assert_close(network.train()(x), by_hand(source[0], x, SHARE)[0])


def test_adapted_statistics_lie_a_share_of_the_way_to_adabns() -> None:
    torch.manual_seed(0)
    source = build_network("small_deeplab", 8, 4).double()
    batches = [torch.rand(2, 3, 32, 32, dtype=torch.double) for _ in range(3)]
    source.train()(batches[0] * 0.2)
    part, whole, again = (copy.deepcopy(source) for _ in range(3))
    stvm.adapt_batch_norm(part, batches, share=0.25)
    stvm.adapt_batch_norm(whole, batches)
    stvm.adapt_batch_norm(again, batches, share=1.0)
    ends = zip(*(n.state_dict().items() for n in (source, part, whole, again)), strict=True)
    for (name, old), (_, mixed), (_, new), (_, same) in ends:
        assert torch.equal(new, same)
        if "running" in name:
            torch.testing.assert_close(mixed, 0.75 * old + 0.25 * new)
            assert not torch.equal(old, new)
        elif "tracked" not in name:
            assert torch.equal(mixed, old)
    for share in (0.0, 1.5):
        with pytest.raises(stvm.StvmError, match=f"share={share} is not above 0"):
            stvm.adapt_batch_norm(part, batches, share=share)
