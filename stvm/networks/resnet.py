"""A dilated ResNet of bottleneck blocks, in the forms that public code uses.

The weights of all forms have the same names and shapes. Only the family of a checkpoint says in
which form it was trained.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from stvm.networks.segmentation_network import StagedFeatures

EXPANSION = 4


@dataclass(frozen=True)
class ResNetForm:
    """Details in which the forms of the ResNet differ; all have output stride 8.

    Attributes:
        about: Short text for people.
        deep_stem: Whether the stem has three 3x3 convolutions in place of the 7x7 one (v1c).
        stride_on_conv1: Whether a layer's stride is on its first 1x1 convolution (Caffe) and not
            on the 3x3 one (PyTorch).
        ceil_pool: Whether the pooling rounds its size up, 1024x512 -> 129x65 at the output.
        contracted: Whether the first block of a dilated layer has the dilation of the layer before
            (torchvision's replace_stride_with_dilation, mmseg's contract_dilation).
        norm_eps: Constant that batch norms add to the variance.
        dilations: Dilations of layers 3 and 4.
    """

    about: str
    deep_stem: bool = False
    stride_on_conv1: bool = False
    ceil_pool: bool = False
    contracted: bool = True
    norm_eps: float = 1e-5
    dilations: tuple[int, int] = (2, 4)


FORMS = {
    "caffe": ResNetForm(
        "AdaptSegNet's and its successors'", stride_on_conv1=True, ceil_pool=True, contracted=False
    ),
    "torchvision": ResNetForm("torchvision's, dilated"),
    # The original adds nothing to the variance. With 0, the batch statistics of a constant channel
    # would divide by 0.
    "torchvision_frozen": ResNetForm("torchvision's with FADA's frozen batch norm", norm_eps=1e-10),
    "v1c": ResNetForm("mmsegmentation's ResNetV1c", deep_stem=True),
}
"""Forms by the name that a checkpoint keeps."""


@dataclass(frozen=True)
class ResNetSize:
    """Depth and width of a ResNet.

    Attributes:
        blocks: Number of blocks in each layer.
        width: Channels of the stem; layer 4 ends with 32 times as many.
    """

    blocks: tuple[int, int, int, int]
    width: int = 64

    def channels(self, layer: int) -> int:
        """Number of channels that layer 1, 2, 3 or 4 gives."""
        return EXPANSION * self.width * (1 << (layer - 1))


RESNET101 = ResNetSize((3, 4, 23, 3))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm around a shortcut (He et al. 2016)."""

    def __init__(
        self, inputs: int, planes: int, stride: int, dilation: int, first: bool, form: ResNetForm
    ) -> None:
        super().__init__()
        strides = (stride, 1) if form.stride_on_conv1 else (1, stride)
        outputs, eps = EXPANSION * planes, form.norm_eps
        self.conv1 = nn.Conv2d(inputs, planes, 1, strides[0], bias=False)
        self.bn1 = nn.BatchNorm2d(planes, eps)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, strides[1], padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes, eps)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, eps)
        self.downsample: nn.Module | None = None
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, eps)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, 4 planes, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut, inplace=True)


class ResNet(StagedFeatures):
    """Stem and four layers, with torchvision's keys (mmsegmentation's with a deep stem)."""

    def __init__(self, form: ResNetForm, size: ResNetSize = RESNET101) -> None:
        super().__init__()
        width = size.width
        if form.deep_stem:
            self.stem: nn.Module | None = _deep_stem(width, form.norm_eps)
        else:
            self.stem = None
            self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width, form.norm_eps)
        self.pool = nn.MaxPool2d(3, 2, padding=1, ceil_mode=form.ceil_pool)
        layers, inputs, before = [], width, 1
        for number, (blocks, stride, dilation) in enumerate(
            zip(size.blocks, (1, 2, 1, 1), (1, 1, *form.dilations), strict=True)
        ):
            planes = width * 2**number
            of_first = before if form.contracted else dilation
            chain = [Bottleneck(inputs, planes, stride, of_first, True, form)]
            inputs, before = EXPANSION * planes, dilation
            chain += [
                Bottleneck(inputs, planes, 1, dilation, False, form) for _ in range(1, blocks)
            ]
            layers.append(nn.Sequential(*chain))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stages(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> features of layers 3 and 4, of output stride 8."""
        if self.stem is None:
            x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        else:
            x = self.stem(images)
        middle = self.layer3(self.layer2(self.layer1(self.pool(x))))
        # Layer 4 begins with a convolution and does not write into its input.
        return middle, self.layer4(middle)


def _deep_stem(width: int, eps: float) -> nn.Sequential:
    half = width // 2
    parts: list[nn.Module] = []
    for inputs, outputs, stride in ((3, half, 2), (half, half, 1), (half, width, 1)):
        parts += [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs, eps),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*parts)
