"""Beautifying with a real small model on a real server, and the checks on what it says."""

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from curation_assets.beautified_prompts.beautifying import (
    KEY,
    beautifier_of,
    beautify_prompts,
    check_beautified,
    unchanged,
)
from curation_assets.commands.beautify import with_server
from curation_assets.language_models import language_model
from curation_assets.settings import Beautifying, SettingsError, WritingChat, parse_settings
from curation_assets.tables import BEAUTIFIED_PROMPTS
from curation_assets.writing import attempt_seed
from resources.chat import ChatClient
from tests.stand_in_server import completion, stand_in_server

GOOD = "A grey cat sleeps on a red sofa. Close-up with a steady camera."
EMBEDDED = beautifier_of(Beautifying(), "SmolLM2", "r1")
CHAT = beautifier_of(
    Beautifying(engine="chat", chat=WritingChat(base_url="http://x", model="m", temperature=0.7)), "m", "r1"
)


def unit(prompt: str) -> dict[str, Any]:
    return {"prompt": prompt, "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest()}


def beautify(prompt: str, client: ChatClient, **settings: Any) -> Any:
    section = Beautifying(engine="chat", chat=WritingChat(base_url="http://x", model="m", temperature=0.7), **settings)
    [(_, row)] = beautify_prompts([unit(prompt)], client, beautifier_of(section, "m", "r1"))
    return row


def test_the_packaged_model_makes_a_description_of_the_prompt() -> None:
    prompt = "a dog running on the beach at sunset"
    with language_model(Beautifying(), "beautifying") as (client, revision):
        client.check()
        beautifier = beautifier_of(Beautifying(), client.model, revision)
        [(_, row)] = beautify_prompts([unit(prompt)], client, beautifier)
    assert not isinstance(row, Exception)
    assert row["status"] == "ok", row
    check_beautified(row["beautified_prompt"], prompt, beautifier)
    assert "dog" in row["beautified_prompt"]
    assert len(row["beautified_prompt"]) > len(prompt)
    assert set(row) <= set(BEAUTIFIED_PROMPTS.stage_columns)
    assert set(unchanged("a cat")) == set(row)


def test_the_packaged_model_does_not_go_round_in_circles() -> None:
    """As it did: "The cat is a cat who is a cat who is a cat"."""
    with language_model(Beautifying(), "beautifying") as (client, _):
        rows = dict(beautify_prompts([unit("a cat"), unit("a rocket launch")], client, EMBEDDED))
    for row in rows.values():
        words = row["beautified_prompt"].split()
        runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        assert len(set(runs)) == len(runs)


@pytest.mark.parametrize(("text", "refused"), [("An old man fishes.", True), ("Horses gallop on sand.", False)])
def test_only_the_packaged_model_is_held_to_the_prompts_words(text: str, refused: bool) -> None:
    prompt = "two horses galloping on a beach"
    check_beautified(text, prompt, CHAT)
    with pytest.raises(ValueError, match="something else") if refused else nullcontext():
        check_beautified(text, prompt, EMBEDDED)


def test_refused_answers_are_asked_for_again_with_other_seeds() -> None:
    shown = sorted(CHAT.prompt.shown_answers)
    texts = [*shown, "a  Cat", "", "Word. " * 201, "A cat sits on", "A cat sits. A cat sits.", GOOD]
    answers = iter(["no JSON", *(json.dumps({KEY: text}) for text in texts)])
    with stand_in_server(lambda body: (200, completion(next(answers)))) as server:
        row = beautify("a cat", server.client())
        sent = server.received
    assert len(shown) == 2
    assert (row["status"], row["beautified_prompt"], row["attempts"]) == ("ok", GOOD, 9)
    assert row["last_answer"] is None
    assert [body["seed"] for body in sent] == [attempt_seed(unit("a cat")["prompt_sha256"], k) for k in range(9)]
    assert sent[0]["messages"][-1]["content"].endswith("The words:\na cat")


@pytest.mark.parametrize(("count", "status"), [(200, "ok"), (201, "failed")])
def test_the_limit_is_200_words(count: int, status: str) -> None:
    words = " ".join(f"word{i}" for i in range(count)) + "."
    with stand_in_server(lambda body: (200, completion(json.dumps({KEY: words})))) as server:
        row = beautify("a cat", server.client(), max_attempts=2)
        said = server.received[0]["messages"][0]["content"]
    assert row["status"] == status
    assert "at most 200 words" in said
    assert row["last_answer"] == (None if status == "ok" else json.dumps({KEY: words}))


def test_sentences_of_the_examples_are_refused() -> None:
    (_, example), *_ = EMBEDDED.prompt.examples
    with pytest.raises(ValueError, match="template's example"):
        check_beautified("A cat fishes. " + example.split(". ")[1] + ".", "a cat", EMBEDDED)


def test_a_template_comes_from_text_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text('In {max_words} words. {"detailed description": "like this"}', encoding="utf-8")
    for template in (str(file), file.read_text()):
        section = parse_settings({"beautifying": {"template": template, "max_words": 30}}, "x.yaml").beautifying
        prompt = beautifier_of(section, "m", "r").prompt
        assert prompt.messages("a cat")[0]["content"].startswith("In 30 words.")
        assert prompt.shown_answers == {"like this"}
    with pytest.raises(SettingsError, match=r"x\.yaml: beautifying\.template: .*none\.txt can't be read"):
        parse_settings({"beautifying": {"template": "none.txt"}}, "x.yaml")


def test_flags_outrank_settings_and_settings_the_environment() -> None:
    environment = {"OPENAI_BASE_URL": "http://environment", "OPENAI_API_KEY": "k"}
    in_settings = Beautifying(
        engine="chat", chat=WritingChat(base_url="http://settings", model="s", api_key_env="S_KEY")
    )

    def server(section: Beautifying, *flags: str | None) -> tuple[str | None, ...]:
        found = with_server(section, *(flags or (None, None, None)), environment)
        return found.engine, found.chat.base_url, found.chat.api_key_env, found.chat.model

    assert server(in_settings, "http://flag", "F_KEY", "f") == ("chat", "http://flag", "F_KEY", "f")
    assert server(in_settings) == ("chat", "http://settings", "S_KEY", "s")
    only_model = Beautifying(chat=WritingChat(model="s"))
    assert server(only_model) == ("chat", "http://environment", "OPENAI_API_KEY", "s")
    assert server(Beautifying(engine="embedded"))[:2] == ("embedded", None)
    assert with_server(Beautifying(), None, None, None, {}).engine == "embedded"
    with pytest.raises(SettingsError, match="no model is named for http://environment"):
        server(Beautifying())
    with pytest.raises(SettingsError, match="name it with --base-url"):
        with_server(Beautifying(), None, None, "m", {})
