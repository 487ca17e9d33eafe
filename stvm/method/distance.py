"""The distance between metric features and proxies: equation 3 of the paper.

The metric network gives features at the resolution of the feature map (h, w); the distance is
needed at every pixel of the image (H, W). Bilinear enlargement is linear. The product with a proxy
is therefore computed before the enlargement, and the norm of an enlarged feature follows from
products of neighbouring features. Both are exact, and the large tensor (N, N_f, H, W) is never
built.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from stvm.networks import upsample


def normalized_squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """Squared L2 distance between the normalised rows of x (P, D) and y (C, D): eq. 3, (P, C).

    For unit vectors this is 2 - 2 cos.
    """
    return 2.0 - 2.0 * F.normalize(x, dim=1) @ F.normalize(y, dim=1).T


def _axis(size: int, small: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lower index, upper index and upper weight of bilinear enlargement along one axis."""
    centre = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (small / size) - 0.5
    centre = centre.clamp(min=0)
    low = centre.floor().long().clamp(max=small - 1)
    return low, (low + 1).clamp(max=small - 1), centre - low


def sample_bilinear(
    maps: Tensor, size: tuple[int, int], index: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Values (P, K) that `upsample(maps, size)` has at the pixels `index` = (n, y, x).

    Args:
        maps: Maps before the enlargement, (N, K, h, w).
        size: Height and width (H, W) of the enlarged maps.
        index: Image, row and column of each pixel, three tensors (P,).
    """
    n, y, x = index
    y0, y1, wy = (t[y] for t in _axis(size[0], maps.shape[2], maps))
    x0, x1, wx = (t[x] for t in _axis(size[1], maps.shape[3], maps))
    rows = maps.permute(0, 2, 3, 1)
    wy, wx = wy.unsqueeze(1), wx.unsqueeze(1)
    top = torch.lerp(rows[n, y0, x0], rows[n, y0, x1], wx)
    bottom = torch.lerp(rows[n, y1, x0], rows[n, y1, x1], wx)
    return torch.lerp(top, bottom, wy)


def _squared_weights(size: int, small: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (size, small): squared weights of both neighbours, and twice their product."""
    low, high, weight = _axis(size, small, like)
    rows = torch.arange(size, device=like.device)
    squares, products = like.new_zeros(2, size, small).unbind()
    squares.index_put_((rows, low), (1 - weight) ** 2, accumulate=True)
    squares.index_put_((rows, high), weight**2, accumulate=True)
    products.index_put_((rows, low), 2 * weight * (1 - weight), accumulate=True)
    return squares, products


def upsampled_square_norm(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Squared norm over the channels of `upsample(maps, size)`, (N, H, W).

    It is computed from products of neighbouring features: |a f1 + b f2|^2 needs f1.f1, f1.f2 and
    f2.f2 alone. In two dimensions these are the products of a pixel with its right, lower and two
    diagonal neighbours; products of the bilinear weights enlarge them.
    """
    right = torch.cat([maps[..., 1:], maps[..., -1:]], 3)
    below = torch.cat([maps[:, :, 1:], maps[:, :, -1:]], 2)
    diagonal = torch.cat([right[:, :, 1:], right[:, :, -1:]], 2)
    own, horizontal, vertical = ((maps * other).sum(1) for other in (maps, right, below))
    across = ((maps * diagonal).sum(1) + (right * below).sum(1)) / 2
    squares_y, products_y = _squared_weights(size[0], maps.shape[2], maps)
    squares_x, products_x = (m.T for m in _squared_weights(size[1], maps.shape[3], maps))
    return squares_y @ (own @ squares_x + horizontal @ products_x) + products_y @ (
        vertical @ squares_x + across @ products_x
    )


def distance_to_predicted(embeddings: Tensor, proxies: Tensor, labels: Tensor) -> Tensor:
    """Distance of each pixel's metric feature to the proxy of its predicted class (eq. 3).

    Args:
        embeddings: Metric features at the resolution of the feature map, (N, N_f, h, w).
        proxies: Proxy of each class, (C, N_f).
        labels: Predicted classes, (N, H, W).

    Returns:
        Distances in [0, 4], (N, H, W), equal to the distances of the enlarged features.
    """
    size = (labels.shape[-2], labels.shape[-1])
    dots = upsample(torch.einsum("nkhw,ck->nchw", embeddings, F.normalize(proxies, dim=1)), size)
    dot = dots.gather(1, labels.unsqueeze(1)).squeeze(1)
    norm = upsampled_square_norm(embeddings, size).clamp(min=1e-24).sqrt()
    return (2.0 - 2.0 * dot / norm).clamp(0.0, 4.0)
