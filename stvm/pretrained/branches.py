"""Which branches of a summed ASPP count, by their weights.

Where two of four are added, the others never got a gradient, and SGD leaves a weight without a
gradient alone, its decay too: they are still the draws from N(0, 0.01) they began as.
"""

from collections.abc import Sequence

from torch import Tensor

_STD = 0.01
_SIGMAS = 5.0


def is_untrained(weight: Tensor) -> bool:
    """Mean, deviation and kurtosis are those of draws from N(0, 0.01), each within 5 sigma."""
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
    """What the weights of four branches say.

    Returns:
        "two" or "four"; "none" where no branch was trained; "contradictory" for all else.
    """
    told = tuple(is_untrained(weight) for weight in weights)
    known: dict[tuple[bool, ...], str] = {
        (False, False, True, True): "two",
        (False, False, False, False): "four",
        (True, True, True, True): "none",
    }
    return known.get(told, "contradictory")
