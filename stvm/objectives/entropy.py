"""The entropy of predictions, which several objectives share."""

from torch import Tensor
from torch.nn import functional as F


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax of each pixel in nats, (N, C, H, W) -> (N, H, W).

    Its gradient is finite even where a probability is 0.
    """
    log_shares = F.log_softmax(logits, dim=1)
    return -(log_shares.exp() * log_shares).sum(1)
