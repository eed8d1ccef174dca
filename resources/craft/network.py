"""CRAFT's network (Baek et al. 2019, https://arxiv.org/abs/1904.01941), under the parameter names of its weights.

VGG16's convolutions with batch normalisation in five slices, and a U-net over the slices' outputs. Importing this
module imports torch, so only what loads the weights does.
"""

from collections import OrderedDict
from collections.abc import Iterator

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

_POOL = 0
_VGG16 = ((64, 64, _POOL, 128, 128), (_POOL, 256, 256), (256, _POOL, 512, 512), (512, _POOL, 512, 512))
"""Channels of the first four slices' convolutions."""


class Craft(nn.Module):
    """Pictures (N, 3, H, W), sides multiples of 16, to maps (N, 2, H / 2, W / 2), roughly 0..1.

    The first map is high in the middle of characters, the second between neighbouring characters of a word.
    """

    def __init__(self) -> None:
        super().__init__()
        self.basenet = Base()
        self.upconv1 = Merge(1024 + 512, 512, 256)
        self.upconv2 = Merge(256 + 512, 256, 128)
        self.upconv3 = Merge(128 + 256, 128, 64)
        self.upconv4 = Merge(64 + 128, 64, 32)
        convolutions = (
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 16, 3, padding=1),
        )
        self.conv_cls = nn.Sequential()
        for convolution in (*convolutions, nn.Conv2d(16, 16, 1)):
            self.conv_cls.extend((convolution, nn.ReLU(inplace=True)))
        self.conv_cls.append(nn.Conv2d(16, 2, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        *sources, merged = self.basenet(pictures)
        for merge in (self.upconv1, self.upconv2, self.upconv3, self.upconv4):
            source = sources.pop()
            merged = nn.functional.interpolate(merged, source.shape[2:], mode="bilinear")
            merged = merge(torch.cat((merged, source), dim=1))
        maps: Tensor = self.conv_cls(merged)
        return maps


class Base(nn.Module):
    """The outputs of the five slices, with 1/2, 1/4, 1/8, 1/16 and 1/16 of the picture's sides."""

    def __init__(self) -> None:
        super().__init__()
        self.slice1, self.slice2, self.slice3, slice4 = _vgg16_slices()
        self.slice4 = slice4[:-1]  # the weights were trained with the fourth output before its ReLU
        self.slice5 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.Conv2d(1024, 1024, 1),
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for part in (self.slice1, self.slice2, self.slice3, self.slice4, self.slice5):
            x = part(x)
            outputs.append(x)
        return outputs


class Merge(nn.Module):
    def __init__(self, channels: int, middle: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *(nn.Conv2d(channels, middle, 1), nn.BatchNorm2d(middle), nn.ReLU(inplace=True)),
            *(nn.Conv2d(middle, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.conv(x)
        return merged


def _vgg16_slices() -> Iterator[nn.Sequential]:
    """Layers are named by their number in the whole of VGG16."""
    number, channels = 0, 3
    for widths in _VGG16:
        named: OrderedDict[str, nn.Module] = OrderedDict()
        for width in widths:
            if width == _POOL:
                layers: tuple[nn.Module, ...] = (nn.MaxPool2d(2),)
            else:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                layers, channels = (convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)), width
            for layer in layers:
                named[str(number)] = layer
                number += 1
        yield nn.Sequential(named)
