"""Makes random checkpoints of published classes, small enough to serve on a CPU; run by the environment of vLLM.

`python tiny_models.py FOLDER` writes `tiny-qwen2.5-vl`, `tiny-internvl3-hf` and `tiny-llama`, each with tokenizer and
chat template. What they answer is random; how they are loaded, prompted and constrained to a schema is not.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

SEED = 7
HIDDEN = 64
IMAGE_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
TILE_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
TILE = {"height": 56, "width": 56}
CHAT_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{% if part.type == 'image' or 'image' in part or 'image_url' in part -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' or 'video' in part -%}
<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


TILE_TEMPLATE = CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>").replace(
    "<|vision_start|><|video_pad|><|vision_end|>", "<video>"
)


def tokenizer(
    of_pictures: dict[str, str] = IMAGE_TOKENS, chat_template: str = CHAT_TEMPLATE
) -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges to speak of: every text can be written and read back."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *of_pictures.values()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    bpe.train_from_iterator(["a street with people and cars in the rain"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=of_pictures,
        chat_template=chat_template,
    )


def save_llama(folder: Path) -> None:
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def _text_config(words: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The language half of a vision model, for the words of its tokenizer."""
    return {
        "vocab_size": len(words),
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


def save_qwen_vl(folder: Path) -> None:
    words = tokenizer()
    number = words.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            **_text_config(words),
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": HIDDEN,
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [1],
        },
        image_token_id=number(IMAGE_TOKENS["image_token"]),
        video_token_id=number(IMAGE_TOKENS["video_token"]),
        vision_start_token_id=number(IMAGE_TOKENS["vision_start_token"]),
        vision_end_token_id=number(IMAGE_TOKENS["vision_end_token"]),
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    pixels = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


def save_internvl(folder: Path) -> None:
    """A tile of a picture is four tokens."""
    words = tokenizer(TILE_TOKENS, TILE_TEMPLATE)
    config = InternVLConfig(
        text_config={
            "model_type": "qwen2",
            **_text_config(words),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": list(TILE.values()),
            "patch_size": [14, 14],
        },
        image_token_id=words.convert_tokens_to_ids(TILE_TOKENS["context_image_token"]),
        image_seq_length=4,
    )
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=TILE),
        tokenizer=words,
        video_processor=InternVLVideoProcessor(size=TILE),
        image_seq_length=config.image_seq_length,
        chat_template=TILE_TEMPLATE,
    ).save_pretrained(folder)


if __name__ == "__main__":
    torch.manual_seed(SEED)
    save_llama(Path(sys.argv[1]) / "tiny-llama")
    save_qwen_vl(Path(sys.argv[1]) / "tiny-qwen2.5-vl")
    save_internvl(Path(sys.argv[1]) / "tiny-internvl3-hf")
