"""DeepLabV2's classifier: parallel dilated convolutions, summed."""

from collections.abc import Sequence

from torch import Tensor, nn

RATES = (6, 12, 18, 24)
"""Rates of DeepLabV2 (Chen et al. 2017)."""


class SummedAspp(nn.Module):
    """Parallel dilated 3x3 convolutions with bias, whose outputs are added (Chen et al. 2017).

    Args:
        channels: Number of channels of the features, D.
        out_channels: Number of channels of the sum.
        rates: Dilation of each branch.
        active_branches: Number of leading branches that are summed; None for all. The others keep
            their weights and get no gradient, as in AdaptSegNet and its successors.
        std: Standard deviation of the normal draws of the weights; None for torch's own
            initialisation.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        rates: Sequence[int],
        active_branches: int | None = None,
        std: float | None = None,
    ) -> None:
        super().__init__()
        self.active_branches = len(rates) if active_branches is None else active_branches
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, out_channels, 3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches if std is not None else []:
            assert isinstance(branch, nn.Conv2d) and std is not None
            nn.init.normal_(branch.weight, 0.0, std)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> (N, out_channels, h, w)."""
        total: Tensor = self.branches[0](features)
        for branch in self.branches[1 : self.active_branches]:
            total = total + branch(features)
        return total
