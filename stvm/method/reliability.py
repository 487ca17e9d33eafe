"""Reliability of pseudo-labels: equation 4 of the paper."""

import torch
from torch import Tensor


def reliability(distances: Tensor, alpha: float = 2.0, beta: float = 0.6) -> Tensor:
    """Reverse sigmoid 1 / (1 + exp(-alpha (beta - d))) of the distances d: eq. 4.

    Args:
        distances: Distances between metric features and proxies (eq. 3), in [0, 4], any shape.
        alpha: Sharpness of the sigmoid.
        beta: Distance at which the reliability is 0.5.

    Returns:
        Reliability in (0, 1), in the shape of `distances`; in [0.001, 0.77] for the default values.
    """
    return torch.sigmoid(alpha * (beta - distances))
