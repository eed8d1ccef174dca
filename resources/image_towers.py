"""Image towers of CLIP, DINOv2 and SigLIP, on a device, with transformers' classes and the checkpoint's own processor.

The processors are transformers' PIL ones, by name: its default ones need torchvision and round differently. Workers
resize and crop to bytes; the device rescales and normalises, which is the same arithmetic on a quarter of the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Checkpoint
from resources.devices import batch_size
from resources.errors import Need
from resources.networks import Arrays, Network, OpenNetworks, Pictures


@dataclass(frozen=True)
class Family:
    """Classes of transformers, and which of the network's outputs are a picture's features."""

    network: str
    kinds: tuple[str, ...]
    processor: str
    features: Callable[[Any], Any]


FAMILIES = {
    # image embedding in the space that text shares: Radford et al. 2021, https://arxiv.org/abs/2103.00020
    "clip": Family(
        "CLIPVisionModelWithProjection",
        ("clip", "clip_vision_model"),
        "CLIPImageProcessorPil",
        lambda output: output.image_embeds,
    ),
    # mean over all tokens, class token included, as EasyAnimate takes it
    "dinov2": Family(
        "Dinov2Model", ("dinov2",), "BitImageProcessorPil", lambda output: output.last_hidden_state.mean(dim=1)
    ),
    # attention-pooled output: Zhai et al. 2023, https://arxiv.org/abs/2303.15343
    "siglip": Family(
        "SiglipVisionModel",
        ("siglip", "siglip_vision_model"),
        "SiglipImageProcessorPil",
        lambda output: output.pooler_output,
    ),
}


@dataclass(frozen=True)
class ImageTower:
    """A `PictureEngine`: N pictures to (N, D) features, not normalised."""

    family: str
    checkpoint: Checkpoint

    def identity(self) -> dict[str, str]:
        return self.checkpoint.identity()

    def needs(self) -> list[Need]:
        return self.checkpoint.needs()

    def prepare(self, pictures: Pictures) -> Arrays:
        """(N, 3, height, width) bytes, resized and cropped as the checkpoint's processor says."""
        resized = _processor(self)(
            list(pictures), do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np"
        )
        return (np.asarray(resized["pixel_values"], np.uint8),)

    def load(self) -> Any:
        """The network, of transformers' class; what it needs beside weights is looked for first."""
        _processor(self)
        return self.checkpoint.load(FAMILIES[self.family].network, FAMILIES[self.family].kinds)

    def open(self) -> OpenNetworks:
        network = self.load()
        return OpenNetworks((self.on_device(network),), batch_size(self.checkpoint.batch_frames, network.device))

    def on_device(self, network: Any, head: Callable[[Any], Any] = lambda features: features) -> Network:
        """The loaded network as a function of prepared bytes; `head` maps its float32 features, on the device."""
        import torch

        processor, features = _processor(self), FAMILIES[self.family].features
        mean, deviation = (
            torch.tensor(values, device=network.device).view(1, -1, 1, 1)
            for values in (processor.image_mean, processor.image_std)
        )

        @torch.inference_mode()
        def run(pixels: NDArray[Any]) -> NDArray[np.float32]:
            inputs = torch.from_numpy(pixels).to(network.device).float() * processor.rescale_factor
            output = network(pixel_values=((inputs - mean) / deviation).to(network.dtype))
            found: NDArray[np.float32] = head(features(output).float()).cpu().numpy()
            return found

        return run


@cache
def _processor(tower: ImageTower) -> Any:
    return tower.checkpoint.load_part(FAMILIES[tower.family].processor)


def unit_vectors(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = features / np.maximum(lengths, np.float32(1e-12))
    return scaled
