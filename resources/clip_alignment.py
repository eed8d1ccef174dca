"""How well a caption fits a clip's frames by CLIP: `clip_similarity` and `clip_score`.

Cosines of the caption's embedding with each frame's (Radford et al. 2021, https://arxiv.org/abs/2103.00020), text cut
off at CLIP's 77 tokens by its own tokenizer. `clip_similarity` is their mean; a frame's cosine is what EasyAnimate's
CLIPScore gives. `clip_score` is CLIPScore as torchmetrics reports it, the mean of 100 * max(cosine, 0); the paper's
own scale (Hessel et al. 2021, https://arxiv.org/abs/2104.08718) has 2.5 in place of 100.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resources.checkpoints import Checkpoint
from resources.errors import Need
from resources.image_towers import ImageTower, unit_vectors
from resources.networks import Arrays, OpenNetworks, Pictures

TOKENS = 77


@dataclass(frozen=True)
class ClipAlignment:
    """An `AlignmentEngine`."""

    kind: Literal["clip_similarity", "clip_score"]
    checkpoint: Checkpoint

    @property
    def unit(self) -> str:
        return "cosine" if self.kind == "clip_similarity" else "100 x cosine, at least 0"

    @property
    def _tower(self) -> ImageTower:
        return ImageTower("clip", self.checkpoint)

    def identity(self) -> dict[str, str]:
        return self.checkpoint.identity()

    def needs(self) -> list[Need]:
        return self.checkpoint.needs()

    def prepare(self, pictures: Pictures, caption: str) -> Arrays:
        tokens = _tokenizer(self.checkpoint)(
            caption, truncation=True, max_length=TOKENS, padding="max_length", return_tensors="np"
        )
        return (*self._tower.prepare(pictures), tokens["input_ids"])

    def open(self) -> OpenNetworks:
        import torch

        self._require_vocabulary()
        pictures = self._tower.open()
        text = self.checkpoint.load("CLIPTextModelWithProjection", ("clip",))

        @torch.inference_mode()
        def embed(tokens: NDArray[Any]) -> NDArray[np.float32]:
            # What pads a text comes after the token whose state is the text's, and CLIP's attention looks back only.
            output = text(input_ids=torch.from_numpy(tokens).to(text.device))
            embedded: NDArray[np.float32] = output.text_embeds.float().cpu().numpy()
            return embedded

        return OpenNetworks((*pictures.networks, embed), pictures.batch)

    def _require_vocabulary(self) -> None:
        """transformers makes a tokenizer without words of a folder that has no vocabulary."""
        found, wanted = len(_tokenizer(self.checkpoint)), self.checkpoint.load_part("CLIPTextConfig").vocab_size
        if found != wanted:
            raise self.checkpoint.unavailable(
                f"the tokenizer there has {found} tokens, where the weights have {wanted}"
            )

    def score(self, pictures: NDArray[np.float32], caption: NDArray[np.float32]) -> tuple[float, list[float]]:
        cosines = unit_vectors(pictures) @ unit_vectors(caption)[0]
        frames = cosines if self.kind == "clip_similarity" else 100 * np.maximum(cosines, 0)
        return float(frames.mean()), [float(frame) for frame in frames]


@cache
def _tokenizer(checkpoint: Checkpoint) -> Any:
    return checkpoint.load_part("CLIPTokenizer")
