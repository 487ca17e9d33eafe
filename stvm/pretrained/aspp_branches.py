"""Active branches of a summed ASPP, detected from their weights.

If only two of four branches are summed, the other two never get a gradient. SGD does not change a
weight without a gradient, not even by weight decay. Such weights are still the draws from
N(0, 0.01) with which they began.
"""

from collections.abc import Sequence

from torch import Tensor

_STD = 0.01
_SIGMAS = 5.0


def is_untrained(weight: Tensor) -> bool:
    """Whether mean, deviation and kurtosis are those of draws from N(0, 0.01), within 5 sigma."""
    values = weight.detach().double().flatten() / _STD
    count, mean = values.numel(), values.mean()
    variance = (values - mean).square().mean()
    kurtosis = (values - mean).pow(4).mean() / variance.square().clamp(min=1e-30)
    return bool(
        mean.abs() < _SIGMAS / count**0.5
        and (variance.sqrt() - 1).abs() < _SIGMAS / (2 * count) ** 0.5
        and (kurtosis - 3).abs() < _SIGMAS * (24 / count) ** 0.5
    )


def detect_active_branches(weights: Sequence[Tensor]) -> str:
    """Number of active branches that the weights of four branches show.

    Returns:
        "two" or "four"; "none" if no branch was trained; "contradictory" for everything else.
    """
    untrained = tuple(is_untrained(weight) for weight in weights)
    known: dict[tuple[bool, ...], str] = {
        (False, False, True, True): "two",
        (False, False, False, False): "four",
        (True, True, True, True): "none",
    }
    return known.get(untrained, "contradictory")
