"""The feature extractor of the embedded benchmark."""

from torch import Tensor, nn
from torch.nn import functional as F

SMALL_RATES = (1, 2, 4, 6)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a projected shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


def small_features(channels: int) -> nn.Sequential:
    """A feature extractor of output stride 4 for the embedded benchmark."""
    stem, middle = 3 * channels // 8, 3 * channels // 4
    return nn.Sequential(
        nn.Conv2d(3, stem, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
        ResidualBlock(stem, middle, stride=2),
        ResidualBlock(middle, channels),
        ResidualBlock(channels, channels, dilation=2),
    )
