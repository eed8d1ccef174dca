"""VideoCLIP-XL's weights by name, small random ones of that kind, and its forward pass from others' code.

That is torch's multi-head function, and transformers' CLIP models, which are the same network for a text or one frame.
"""

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from resources.videoclip_xl.towers import TextShape, VideoShape

START, END = 512, 513  # of the tokenizer that `tests.checkpoints.save_clip` makes: a token a byte
TINY_TEXT = TextShape(vocabulary=514, width=128, layers=2, dimensions=32)
TINY_VIDEO = VideoShape(patch_px=56, width=128, layers=2, dimensions=32)
_VISION = "vision_model.vision_encoder."
_LAYER_NAMES = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def published_shapes(text: TextShape, video: VideoShape) -> dict[str, tuple[int, ...]]:
    """Names and shapes in VideoCLIP-XL's file, as its model code registers them and dumps of it list them."""

    def blocks(prefix: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
        block: dict[str, tuple[int, ...]] = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
            **{f"{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")},
        }
        prefix = f"{prefix}transformer.resblocks."
        return {f"{prefix}{n}.{name}": shape for n in range(layers) for name, shape in block.items()}

    return {
        "text_model.positional_embedding": (text.positions, text.width),
        "text_model.positional_embedding_res": (text.positions, text.width),
        "text_model.text_projection": (text.width, text.dimensions),
        "text_model.logit_scale": (),
        **blocks("text_model.", text.width, text.layers),
        "text_model.token_embedding.weight": (text.vocabulary, text.width),
        "text_model.ln_final.weight": (text.width,),
        "text_model.ln_final.bias": (text.width,),
        "vision_model.temp": (),
        f"{_VISION}class_embedding": (video.width,),
        f"{_VISION}positional_embedding": (1 + (video.side_px // video.patch_px) ** 2, video.width),
        f"{_VISION}temporal_positional_embedding": (1, video.frames, video.width),
        f"{_VISION}proj": (video.width, video.dimensions),
        f"{_VISION}conv1.weight": (video.width, 3, 1, video.patch_px, video.patch_px),
        **{f"{_VISION}{norm}.{part}": (video.width,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")},
        **blocks(_VISION, video.width, video.layers),
    }


def random_weights(text: TextShape = TINY_TEXT, video: VideoShape = TINY_VIDEO) -> dict[str, Tensor]:
    """Spread so far that different pictures and texts get different features."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(shape, generator=generator) * (0.5 if "embedding" in name else 0.12)
        for name, shape in published_shapes(text, video).items()
    }


def _plain_transformer(x: Tensor, weights: dict[str, Tensor], prefix: str) -> Tensor:
    """Two pre-norm layers with heads of 64 over (N, T, width), attention by torch's own multi-head function."""
    width = x.shape[2]
    for layer in (0, 1):
        of_layer = f"{prefix}{layer}."
        block = {name.removeprefix(of_layer): weight for name, weight in weights.items() if name.startswith(of_layer)}
        y = functional.layer_norm(x, (width,), block["ln_1.weight"], block["ln_1.bias"]).transpose(0, 1)
        attended, _ = functional.multi_head_attention_forward(
            *(y, y, y, width, width // 64, block["attn.in_proj_weight"], block["attn.in_proj_bias"], None, None, False),
            *(0.0, block["attn.out_proj.weight"], block["attn.out_proj.bias"]),
            training=False,
        )
        x = x + attended.transpose(0, 1)
        y = functional.layer_norm(x, (width,), block["ln_2.weight"], block["ln_2.bias"])
        y = functional.linear(y, block["mlp.c_fc.weight"], block["mlp.c_fc.bias"])
        x = x + functional.linear(y * torch.sigmoid(1.702 * y), block["mlp.c_proj.weight"], block["mlp.c_proj.bias"])
    return x


def plain_video(frames: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """ViCLIP's forward pass over (8, 3, 224, 224): frame after frame, the order of patches being free."""
    vision = {name.removeprefix(_VISION): weight for name, weight in weights.items()}
    patches = functional.conv2d(frames, vision["conv1.weight"][:, :, 0], stride=56).flatten(2).transpose(1, 2)
    patches = patches + vision["positional_embedding"][1:] + vision["temporal_positional_embedding"][0][:, None]
    first = vision["class_embedding"] + vision["positional_embedding"][0]
    x = torch.cat([first[None], patches.flatten(0, 1)])[None]
    x = functional.layer_norm(x, (128,), vision["ln_pre.weight"], vision["ln_pre.bias"])
    x = _plain_transformer(x, weights, f"{_VISION}transformer.resblocks.")
    return functional.layer_norm(x[0, 0], (128,), vision["ln_post.weight"], vision["ln_post.bias"]) @ vision["proj"]


def _transformers_layers(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """CLIP's layers under the names of transformers, which keeps query, key and value apart."""
    named = {}
    for layer in (0, 1):
        old, new = f"{prefix}transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for part in ("weight", "bias"):
            of_each = weights[f"{old}attn.in_proj_{part}"].chunk(3)
            named |= {f"{new}self_attn.{n}_proj.{part}": w for n, w in zip("qkv", of_each, strict=True)}
            named[f"{new}self_attn.out_proj.{part}"] = weights[f"{old}attn.out_proj.{part}"]
            for theirs, ours in _LAYER_NAMES.items():
                named[f"{new}{theirs}.{part}"] = weights[f"{old}{ours}.{part}"]
    return named


def transformers_text(weights: dict[str, Tensor]) -> CLIPTextModelWithProjection:
    """CLIP's text model of transformers, given LongCLIP's stretched positions after the first twenty."""
    own = {name.removeprefix("text_model."): weight for name, weight in weights.items()}
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=248, projection_dim=32, bos_token_id=START, eos_token_id=END,
    )  # fmt: skip
    positions = torch.cat([own["positional_embedding"][:20], own["positional_embedding_res"][20:]])
    state = {
        "embeddings.token_embedding.weight": own["token_embedding.weight"],
        "embeddings.position_embedding.weight": positions,
        "final_layer_norm.weight": own["ln_final.weight"],
        "final_layer_norm.bias": own["ln_final.bias"],
        **_transformers_layers(weights, "text_model."),
    }
    model = CLIPTextModelWithProjection(config).eval()
    named = {f"text_model.{name}": weight for name, weight in state.items()}
    model.load_state_dict({**named, "text_projection.weight": own["text_projection"].T})
    return model


def transformers_picture(weights: dict[str, Tensor]) -> CLIPVisionModelWithProjection:
    """CLIP's vision model of transformers, its patches at the place and the time of ViCLIP's single frame."""
    own = {name.removeprefix(_VISION): weight for name, weight in weights.items()}
    config = CLIPVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=2,
        image_size=224, patch_size=56, projection_dim=32,
    )  # fmt: skip
    positions = own["positional_embedding"].clone()
    positions[1:] += own["temporal_positional_embedding"][0]
    state = {
        "embeddings.class_embedding": own["class_embedding"],
        "embeddings.patch_embedding.weight": own["conv1.weight"][:, :, 0],
        "embeddings.position_embedding.weight": positions,
        **{f"pre_layrnorm.{part}": own[f"ln_pre.{part}"] for part in ("weight", "bias")},
        **{f"post_layernorm.{part}": own[f"ln_post.{part}"] for part in ("weight", "bias")},
        **_transformers_layers(weights, _VISION),
    }
    model = CLIPVisionModelWithProjection(config).eval()
    named = {f"vision_model.{name}": weight for name, weight in state.items()}
    model.load_state_dict({**named, "visual_projection.weight": own["proj"].T})
    return model
