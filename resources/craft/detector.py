"""CRAFT, EasyOCR's detector of text in scenes, without reading what it says."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import WeightsFile
from resources.craft.boxes import TextBoxes, text_boxes
from resources.devices import at_precision, batch_size, data_type, moved, open_device, require_device
from resources.errors import Need
from resources.networks import Arrays, Network, OpenNetworks, Pictures
from resources.packages import package_version
from resources.text import one_line

MODEL = "CRAFT craft_mlt_25k"

_LONGEST_SIDE_PX = 2560  # EasyOCR's canvas: larger pictures are shrunk to it
_SIDES_MULTIPLE_OF = 32
_CHANNEL_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_CHANNEL_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class CraftDetector:
    """A `PictureEngine`: N pictures to their maps (N, 2, H / 2, W / 2), and their sizes (N, 2) as they are."""

    setting: str
    """section of the settings, named in errors"""
    weights: WeightsFile
    precision: str = "fp32"
    device: str = "auto"
    batch_frames: int = 0

    def identity(self) -> dict[str, str]:
        return {"model": MODEL, "revision": at_precision(self.weights.mark(), self.precision)}

    def needs(self) -> list[Need]:
        return [self.weights.path, partial(require_device, self.device, self.setting)]

    def prepare(self, pictures: Pictures) -> Arrays:
        """Bytes (N, H, W, 3) of pictures of one size, black below and on the right up to multiples of 32, and each
        picture's own height and width."""
        sizes = np.array([picture.shape[:2] for picture in pictures], np.float32)
        return np.stack([_on_canvas(picture) for picture in pictures]), sizes

    def open(self) -> OpenNetworks:
        package_version("torch")
        device = open_device(self.device, self.setting)
        network = moved(self._network().to(data_type(self.precision)).eval(), device, self.setting)
        return OpenNetworks((_maps_of(network, device), lambda sizes: sizes), batch_size(self.batch_frames, device))

    def _network(self) -> Any:
        """Raises EngineUnavailable for weights of another network."""
        from resources.craft.network import Craft

        network = Craft()
        weights = {name.removeprefix("module."): weight for name, weight in self.weights.load().items()}
        try:
            network.load_state_dict(weights)
        except RuntimeError as failure:
            raise self.weights.unavailable(f"it holds no CRAFT ({one_line(str(failure), 200)})") from None
        return network


def found_text(maps: NDArray[np.float32], sizes: NDArray[np.float32]) -> Iterator[tuple[TextBoxes, int, int]]:
    """The boxes in each picture, in px, and its height and width; of what the networks gave."""
    for (text, link), (height, width) in zip(maps, sizes.astype(int).tolist(), strict=True):
        yield text_boxes(text, link, _scale(height, width)), height, width


def _scale(height: int, width: int) -> float:
    return min(1.0, _LONGEST_SIDE_PX / max(height, width))


def _on_canvas(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    cv2.setNumThreads(1)
    height, width = (max(1, int(side * _scale(*picture.shape[:2]))) for side in picture.shape[:2])
    shrunk = cv2.resize(picture, (width, height))
    below, right = -height % _SIDES_MULTIPLE_OF, -width % _SIDES_MULTIPLE_OF
    return np.pad(shrunk, ((0, below), (0, right), (0, 0))).astype(np.uint8, copy=False)


def _maps_of(network: Any, device: Any) -> Network:
    import torch

    mean, std = torch.tensor(_CHANNEL_MEAN, device=device), torch.tensor(_CHANNEL_STD, device=device)
    dtype = next(network.parameters()).dtype

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        normalised = (torch.from_numpy(pixels).to(device).float() - mean) / std
        found: NDArray[np.float32] = network(normalised.to(dtype).permute(0, 3, 1, 2)).float().cpu().numpy()
        return found

    return run
