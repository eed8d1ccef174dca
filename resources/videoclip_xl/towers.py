"""The two towers of VideoCLIP-XL (https://arxiv.org/abs/2410.00741), under the parameter names of its weights.

Text: LongCLIP-L (https://arxiv.org/abs/2403.15378), CLIP's causal transformer with 248 positions. Video: ViCLIP-L/14
of InternVid (https://arxiv.org/abs/2307.06942), CLIP's ViT with the patches of all frames attending to each other. Both
end in the same space. Importing this module imports torch, so only what loads the weights does.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

_HEAD_WIDTH = 64  # in every CLIP
_KEPT_POSITIONS = 20
"""LongCLIP keeps CLIP's first 20 position vectors as they were and trains stretched ones for the rest."""


class TextShape(NamedTuple):
    vocabulary: int = 49408
    positions: int = 248
    width: int = 768
    layers: int = 12
    dimensions: int = 768


class VideoShape(NamedTuple):
    side_px: int = 224
    patch_px: int = 14
    frames: int = 8
    width: int = 1024
    layers: int = 24
    dimensions: int = 768


class QuickGelu(nn.Module):
    """The activation CLIP was trained with (https://github.com/openai/CLIP)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.view(*x.shape[:2], 3, -1, _HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        attended: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return attended


class Block(nn.Module):
    """Attention, then a perceptron of four times the width; each sees a normalised input, and is added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGelu(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = x + self.attn(self.ln_1(x), causal)
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x, self.causal)
        return x


class TextTower(nn.Module):
    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.positional_embedding = nn.Parameter(torch.empty(shape.positions, shape.width))
        self.positional_embedding_res = nn.Parameter(torch.empty(shape.positions, shape.width))
        self.transformer = Transformer(shape.width, shape.layers, causal=True)
        self.ln_final = nn.LayerNorm(shape.width)
        self.text_projection = nn.Parameter(torch.empty(shape.width, shape.dimensions))
        self.logit_scale = nn.Parameter(torch.empty(()))  # of the training loss; no part of a score

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, dimensions) of N texts' (N, T) token ids, T at most the number of positions.

        A text's vector is its state at the first end token, the highest id. What is after it changes nothing.
        """
        kept = self.positional_embedding[:_KEPT_POSITIONS]
        positions = torch.cat([kept, self.positional_embedding_res[_KEPT_POSITIONS:]])
        x = self.token_embedding(tokens) + positions[: tokens.shape[1]]
        states: Tensor = self.ln_final(self.transformer(x))
        return states[torch.arange(len(states)), tokens.argmax(1)] @ self.text_projection


class SpaceTimeEncoder(nn.Module):
    def __init__(self, shape: VideoShape) -> None:
        super().__init__()
        patches = (shape.side_px // shape.patch_px) ** 2
        kernel = (1, shape.patch_px, shape.patch_px)
        self.conv1 = nn.Conv3d(3, shape.width, kernel, stride=kernel, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(shape.width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + patches, shape.width))
        self.temporal_positional_embedding = nn.Parameter(torch.empty(1, shape.frames, shape.width))
        self.ln_pre = nn.LayerNorm(shape.width)
        self.transformer = Transformer(shape.width, shape.layers, causal=False)
        self.ln_post = nn.LayerNorm(shape.width)
        self.proj = nn.Parameter(torch.empty(shape.width, shape.dimensions))

    def forward(self, videos: Tensor) -> Tensor:
        """(N, dimensions) of (N, 3, frames, side, side) videos."""
        x = self.conv1(videos).flatten(3).permute(0, 3, 2, 1)  # video, patch, time, channel
        x = x + self.positional_embedding[1:, None] + self.temporal_positional_embedding
        start = (self.class_embedding + self.positional_embedding[0]).expand(len(x), 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([start, x.flatten(1, 2)], 1)))
        states: Tensor = self.ln_post(x[:, 0])
        return states @ self.proj


class VideoTower(nn.Module):
    def __init__(self, shape: VideoShape) -> None:
        super().__init__()
        self.vision_encoder = SpaceTimeEncoder(shape)
        self.temp = nn.Parameter(torch.empty(()))  # of the training loss; no part of a score

    def forward(self, videos: Tensor) -> Tensor:
        features: Tensor = self.vision_encoder(videos)
        return features


class VideoClipXl(nn.Module):
    def __init__(self, text: TextShape, video: VideoShape) -> None:
        super().__init__()
        self.text_model = TextTower(text)
        self.vision_model = VideoTower(video)
        self.text = text
        self.video = video

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Self:
        """The network of these weights, which are taken, not copied; their shapes give its size.

        Raises KeyError, ValueError or RuntimeError when they aren't those of a VideoCLIP-XL, or not all of them.
        """
        vocabulary, width = weights["text_model.token_embedding.weight"].shape
        text = TextShape(
            vocabulary,
            len(weights["text_model.positional_embedding"]),
            width,
            _layers(weights, "text_model.transformer.resblocks."),
            weights["text_model.text_projection"].shape[1],
        )
        encoder = "vision_model.vision_encoder."
        width, _, _, patch_px, _ = weights[encoder + "conv1.weight"].shape
        patches = len(weights[encoder + "positional_embedding"]) - 1
        video = VideoShape(
            int(patches**0.5) * patch_px,
            patch_px,
            weights[encoder + "temporal_positional_embedding"].shape[1],
            width,
            _layers(weights, encoder + "transformer.resblocks."),
            weights[encoder + "proj"].shape[1],
        )
        with torch.device("meta"):
            network = cls(text, video)
        network.load_state_dict(weights, strict=True, assign=True)
        return network.eval().requires_grad_(False)


def _layers(names: Iterable[str], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)})
