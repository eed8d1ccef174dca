"""What names the rows of captions: every setting that changes an answer, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation_assets.captions.assets import caption_assets
from curation_assets.settings import Settings, parse_settings
from resources.packages import package_file
from resources.sentence_encoder import PACKAGE

CHAT = {"base_url": "http://127.0.0.1:8000/v1", "model": "stand-in"}


def versions(document: dict[str, Any] | None = None, **chat: Any) -> tuple[str, str]:
    """Of `captions` and `rewritten_captions`."""
    by_chat = {"engine": "chat", "chat": {**CHAT, **chat}}
    with_chat = {"captions": dict(by_chat), "rewriting": dict(by_chat)}
    for section, values in (document or {}).items():
        with_chat[section] = {**with_chat.get(section, {}), **values}
    captions, rewritten, _ = caption_assets(parse_settings(with_chat, "x.yaml"))
    return captions.stages[0].code_version, rewritten.stages[0].code_version


BEFORE = versions()


def test_rows_made_before_there_were_more_settings_stand() -> None:
    assert BEFORE[0] == "1-511de6da"  # of the first captions by a chat server
    embedded = json.loads(caption_assets(Settings())[1].stages[0].declaration)["settings"]
    assert embedded.keys().isdisjoint({"max_caption_tokens", "extra_body", "tokenizer"})
    assert (embedded["temperature"], embedded["max_tokens"]) == (0.0, 256)


def test_what_changes_an_answer_changes_the_version(tmp_path: Path) -> None:
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Say what you see.", encoding="utf-8")
    for change in (
        versions({"captions": {"prompt": str(prompt)}, "rewriting": {"prompt": str(prompt)}}),
        versions({"captions": {"max_caption_tokens": 256}, "rewriting": {"max_caption_tokens": 256}}),
        versions(extra_body={"top_k": 5}),
        versions(model="Qwen3-VL-8B"),
        versions(temperature=0.3),
    ):
        assert change[0] != BEFORE[0]
        assert change[1] != BEFORE[1]
    assert versions({"captions": {"send": "video"}})[0] != BEFORE[0]
    assert versions({"captions": {"prompt": "Describe this video in detail. Don't repeat."}}) == BEFORE


def test_a_familys_fields_are_among_them() -> None:
    """A model's name alone isn't enough: `null` takes away what the family would get."""
    with_thoughts = {"chat_template_kwargs": None, "top_p": None, "top_k": None}
    assert versions(model="Qwen3-8B") != versions(model="Qwen3-8B", extra_body=with_thoughts)


def test_a_tokenizer_counts_only_where_tokens_have_a_limit() -> None:
    tokenizer = {"training_set": {"trainer": {"tokenizer": str(package_file(PACKAGE, "tokenizer.json").parent)}}}
    limit = {"captions": {"max_caption_tokens": 256}, "rewriting": {"max_caption_tokens": 256}}
    assert versions(tokenizer) == BEFORE
    assert all(one != other for one, other in zip(versions(limit), versions(limit | tokenizer), strict=True))


@pytest.mark.parametrize("field", ["messages", "max_tokens", "seed"])
def test_what_has_a_setting_of_its_own_is_no_further_field(field: str) -> None:
    with pytest.raises(ValueError, match=rf"captions.chat.extra_body: {field} can't stand here"):
        versions(extra_body={field: 1})
