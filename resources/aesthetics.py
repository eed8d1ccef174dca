"""Aesthetic predictors: an image tower's unit vector through a head of five linear layers, to one figure a picture.

`siglip_v2_5`: aesthetic predictor v2.5, on SigLIP so400m/14-384's pooled output
(https://github.com/discus0434/aesthetic-predictor-v2-5). `laion_v2`: LAION's improved aesthetic predictor, on the image
embedding of CLIP ViT-L/14 (https://github.com/christophschuhmann/improved-aesthetic-predictor). Both heads go
width -> 1024 -> 128 -> 64 -> 16 -> 1 with dropouts in between, which only training uses, and no activations.
Figures are the head's raw output, roughly 1..10; high is beautiful.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from resources.checkpoints import WeightsFile
from resources.devices import batch_size
from resources.errors import Need
from resources.image_towers import ImageTower
from resources.networks import Arrays, OpenNetworks, Pictures

HIDDEN_WIDTHS = (1024, 128, 64, 16, 1)


@dataclass(frozen=True)
class AestheticPredictor:
    """A `PictureEngine`: N pictures to (N, 1) figures."""

    tower: ImageTower
    head: WeightsFile

    def identity(self) -> dict[str, str]:
        tower = self.tower.identity()
        return {**tower, "revision": f"{tower['revision']}, head {self.head.mark()}"}

    def needs(self) -> list[Need]:
        return [*self.tower.needs(), self.head.path]

    def prepare(self, pictures: Pictures) -> Arrays:
        return self.tower.prepare(pictures)

    def open(self) -> OpenNetworks:
        layers = self._layers()  # first, since loading the tower takes long
        network = self.tower.load()
        width = getattr(network.config, "projection_dim" if self.tower.family == "clip" else "hidden_size")
        found = [width, *(len(bias) for _, bias in layers)]
        if [weight.shape for weight, _ in layers] != [(b, a) for a, b in pairwise((width, *HIDDEN_WIDTHS))]:
            raise self.head.unavailable(f"its layers have widths {found}, not {[width, *HIDDEN_WIDTHS]}")
        on_device = [(weight.to(network.device), bias.to(network.device)) for weight, bias in layers]
        batch = batch_size(self.tower.checkpoint.batch_frames, network.device)
        return OpenNetworks((self.tower.on_device(network, _head(on_device)),), batch)

    def _layers(self) -> list[tuple[Any, Any]]:
        """Weight (out, in) and bias of each linear layer, in order: of the keys `<prefix>.<number>.weight`."""
        weights = self.head.load()
        stems = {name.removesuffix(".weight") for name in weights if name.endswith(".weight")}
        try:
            ordered = sorted(stems, key=lambda stem: int(stem.rpartition(".")[2]))
            return [(weights[f"{stem}.weight"].float(), weights[f"{stem}.bias"].float()) for stem in ordered]
        except (ValueError, KeyError) as failure:
            raise self.head.unavailable(f"it is no sequence of linear layers ({failure})") from None


def _head(layers: list[tuple[Any, Any]]) -> Callable[[Any], Any]:
    from torch.nn import functional

    def run(features: Any) -> Any:
        values = functional.normalize(features)
        for weight, bias in layers:
            values = functional.linear(values, weight, bias)
        return values

    return run
