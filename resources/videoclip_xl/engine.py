"""How well a caption fits a clip by VideoCLIP-XL-v2 (https://arxiv.org/abs/2410.00741)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import WeightsFile
from resources.devices import at_precision, batch_size, data_type, moved, open_device, require_device
from resources.errors import Need
from resources.networks import Arrays, OpenNetworks, Pictures
from resources.packages import package_version
from resources.videoclip_xl.tokenizer import ClipTokenizer

PUBLISHED = "alibaba-pai/VideoCLIP-XL-v2"

FRAMES = 8
SIDE_PX = 224
TOKENS = 248
_CHANNEL_MEAN = (0.485, 0.456, 0.406)
_CHANNEL_STD = (0.229, 0.224, 0.225)
_TOWERS = {"model": "text_model", "viclip_model": "vision_model"}
"""What EasyAnimate's copy of the weights calls the towers -> what the model's page does."""


@dataclass(frozen=True)
class VideoClipXlEngine:
    """An `AlignmentEngine`: the cosine, -1..1, of the caption's vector and that of eight frames seen together.

    Pixels are as the model was trained: RGB, scaled to 224 x 224 whatever the shape, normalised with ImageNet's mean
    and deviation. ViCLIP's trainer reads with decord, which gives RGB, and takes ImageNet's constants for an encoder
    named `vit_l14` (OpenGVLab/InternVideo, InternVideo1/Pretrain/ViCLIP/dataset/__init__.py); the demos of ViCLIP and
    of VideoCLIP-XL read with OpenCV and turn its BGR into RGB first. EasyAnimate's `VideoCLIPXLScore` has RGB pictures
    and makes them BGR, so it shows the model red as blue. OpenCV's bilinear scaling is that of the demos.
    """

    setting: str
    """section of the settings, named in errors"""
    weights: WeightsFile
    """both towers: VideoCLIP-XL-v2.bin of the model's page, or EasyAnimate's copy of it"""
    tokenizer: ClipTokenizer
    precision: str = "fp32"
    device: str = "auto"
    batch_frames: int = 0

    @property
    def unit(self) -> str:
        return "cosine"

    def identity(self) -> dict[str, str]:
        weights, tokenizer = at_precision(self.weights.mark(), self.precision), self.tokenizer.identity()
        return {"model": PUBLISHED, "revision": f"{weights}, tokenizer {tokenizer['model']}@{tokenizer['revision']}"}

    def needs(self) -> list[Need]:
        return [self.weights.path, self.tokenizer.require, partial(require_device, self.device, self.setting)]

    def prepare(self, pictures: Pictures, caption: str) -> Arrays:
        """(1, 8, 224, 224, 3) bytes of eight pictures, and (1, 248) token ids.

        An image's single picture is shown as a video that stands still, which the model was trained on. ViCLIP's code
        would place one frame at the mean of its times, which it was not.
        """
        import cv2

        cv2.setNumThreads(1)
        scaled = [cv2.resize(picture, (SIDE_PX, SIDE_PX)) for picture in pictures]
        if len(scaled) == 1:
            scaled *= FRAMES
        return np.stack(scaled)[np.newaxis], self.tokenizer.ids(caption, TOKENS)[np.newaxis]

    def open(self) -> OpenNetworks:
        package_version("torch")
        import torch
        from torch.nn.functional import normalize

        self.tokenizer.vocabulary()  # first, since loading the weights takes long
        device, dtype = open_device(self.device, self.setting), data_type(self.precision)
        network = moved(self._network().to(dtype), device, self.setting)
        mean, std = torch.tensor(_CHANNEL_MEAN, device=device), torch.tensor(_CHANNEL_STD, device=device)

        @torch.inference_mode()
        def videos(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            normalised = (torch.from_numpy(pixels).to(device) / 255 - mean) / std
            features = network.vision_model(normalised.to(dtype).permute(0, 4, 1, 2, 3))
            return normalize(features.float()).cpu().numpy()

        @torch.inference_mode()
        def captions(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
            features = network.text_model(torch.from_numpy(tokens).to(device))
            return normalize(features.float()).cpu().numpy()

        return OpenNetworks((videos, captions), max(1, batch_size(self.batch_frames, device) // FRAMES))

    def score(self, pictures: NDArray[np.float32], caption: NDArray[np.float32]) -> tuple[float, list[float]]:
        return float(pictures[0] @ caption[0]), []

    def _network(self) -> Any:
        """Raises EngineUnavailable for weights of another network, or of one for other texts or videos."""
        from resources.videoclip_xl.towers import VideoClipXl

        named = ((name.partition("."), weight) for name, weight in self.weights.load().items())
        weights = {f"{_TOWERS.get(tower, tower)}.{rest}": weight for (tower, _, rest), weight in named}
        try:
            network = VideoClipXl.of(weights)
        except (KeyError, ValueError, RuntimeError) as failure:
            raise self.weights.unavailable(f"it holds no VideoCLIP-XL ({type(failure).__name__}: {failure})") from None
        takes = (network.text.positions, network.video.frames, network.video.side_px)
        if takes != (TOKENS, FRAMES, SIDE_PX):
            raise self.weights.unavailable(f"it takes {takes} tokens, frames and px, not {(TOKENS, FRAMES, SIDE_PX)}")
        if network.text.vocabulary != self.tokenizer.vocabulary():
            raise self.tokenizer.unavailable(
                f"it has {self.tokenizer.vocabulary()} tokens, where the weights have {network.text.vocabulary}"
            )
        return network
