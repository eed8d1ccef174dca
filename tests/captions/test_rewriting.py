"""Rewriting with a real small model on a real server, and the checks on what it says."""

import json
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.captions.rewriting import (
    KEY,
    check_rewrite,
    rewrite_captions,
    rewriter_of,
    unchanged,
)
from curation_assets.settings import Rewriting, SettingsError, WritingChat, parse_settings
from curation_assets.tables import REWRITTEN_CAPTIONS
from curation_assets.writing import attempt_seed
from resources.chat import ChatClient, ChatRequest, parse_json_answer
from resources.errors import TransientError
from resources.sentence_encoder import SentenceEncoder
from tests.stand_in_server import completion, stand_in_server

CAPTIONS = {
    "c1": "A 6-second clip that appears to show a cheetah, with moderate motion and mostly brown colours.",
    "c2": "A 5-second clip that may show a mountain bike or a disc brake, with strong motion and mostly grey colours.",
    "c3": "A 4-second clip that may show an albatross, with little motion and mostly green and blue colours.",
}
PLACEHOLDER = "your caption here"
EMBEDDED = rewriter_of(Rewriting(), "SmolLM2", "r1")
CHAT = rewriter_of(Rewriting(engine="chat", chat=WritingChat(base_url="http://x", model="m")), "m", "r1")


def rewrite(captions: dict[str, str], *arguments: Any) -> dict[str, Any]:
    return dict(rewrite_captions(({"clip_id": k, "caption": v} for k, v in captions.items()), *arguments))


def test_the_packaged_model_rewrites_captions_without_adding_anything(
    embedded_llm: ChatClient, sentences: SentenceEncoder
) -> None:
    embedded_llm.check()
    rows = rewrite(CAPTIONS, embedded_llm, sentences, EMBEDDED)
    for clip_id, caption in CAPTIONS.items():
        row = rows[clip_id]
        assert list(row) == list(REWRITTEN_CAPTIONS.stage_columns)
        assert row["status"] == "rewritten", row
        assert row["original_caption"] == caption
        assert row["similarity"] >= EMBEDDED.min_similarity
        assert row["completion_tokens"] > 0
        check_rewrite(row["caption"], caption, row["similarity"], EMBEDDED)
    assert "cheetah" in rows["c1"]["caption"]
    assert "second" not in rows["c1"]["caption"]
    assert rewrite({"c1": CAPTIONS["c1"]}, embedded_llm, sentences, EMBEDDED)["c1"]["caption"] == rows["c1"]["caption"]


def test_while_an_answer_is_compared_with_its_caption_others_are_asked_for(sentences: SentenceEncoder) -> None:
    together = Barrier(2)

    class Waiting:
        def encode(self, texts: list[str]) -> NDArray[np.float32]:
            together.wait(timeout=30)
            return sentences.encode(texts)

    answer = json.dumps({KEY: CAPTIONS["c1"]})
    with stand_in_server(lambda _: (200, completion(answer))) as server:
        rows = rewrite(dict.fromkeys(("c1", "c4"), CAPTIONS["c1"]), server.client(concurrency=2), Waiting(), CHAT)
    assert [row["similarity"] for row in rows.values()] == [1.0, 1.0]


def test_the_server_keeps_an_answer_to_its_schema(embedded_llm: ChatClient) -> None:
    turn = [{"role": "user", "content": "Describe a cat in five words."}]
    request = ChatRequest(turn, temperature=0.7, max_tokens=100, seed=4, json_schema=EMBEDDED.prompt.json_schema)
    [(_, answer)] = embedded_llm.complete_all([(1, request)])
    assert not isinstance(answer, Exception)
    assert list(json.loads(answer.text, strict=False)) == [KEY]
    assert parse_json_answer(answer.text, KEY)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A cheetah with moderate", "breaks off"),
        ("Three cheetahs, 12 of them, run.", "numbers"),
        ("A cheetah, with the text “RUN”.", "quotes text"),
        ("A cheetah chases an antelope.", "words that the caption doesn't have: .*antelope"),
    ],
)
def test_an_answer_that_invents_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_rewrite(text, CAPTIONS["c1"], 0.9, EMBEDDED)


def test_an_answer_that_drifts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"similarity 0.3 .* below 0.5"):
        check_rewrite("A cheetah.", CAPTIONS["c1"], 0.3, EMBEDDED)


def test_a_large_model_may_use_words_of_its_own() -> None:
    given = "The video shows a man who is walking his dog in a park. The mood is calm. It is sunny."
    check_rewrite("A man walks his dog through a sunlit park on a sunny day.", given, 0.8, CHAT)
    with pytest.raises(ValueError, match="words"):
        check_rewrite("Two children fly colourful kites near a lighthouse.", given, 0.8, CHAT)


def test_refused_answers_are_asked_for_again_with_other_seeds(sentences: SentenceEncoder) -> None:
    given = CAPTIONS["c1"]
    good = "What appears to be a cheetah, with moderate motion."
    replies = ["no JSON", f'{{"{KEY}": ""}}', f'{{"{KEY}": "{PLACEHOLDER}"}}', f'{{"{KEY}": "{good}",}}']
    answers = iter(replies)
    with stand_in_server(lambda body: (200, completion(next(answers)))) as server:
        row = rewrite({"c1": given}, server.client(), sentences, EMBEDDED)["c1"]
        sent = server.received
    assert (row["status"], row["caption"], row["attempts"], row["prompt_tokens"]) == ("rewritten", good, 4, 28)
    assert row["last_answer"] is None
    assert [body["seed"] for body in sent] == [attempt_seed("c1", k) for k in range(4)]
    assert len({body["seed"] for body in sent}) == 4
    assert [body["temperature"] for body in sent] == [0.0, 0.4, 0.4, 0.4]
    assert sent[0]["response_format"]["json_schema"]["schema"] == EMBEDDED.prompt.json_schema
    assert attempt_seed("c1", 0) == 1247784322


def test_what_never_fits_is_failed_and_kept(sentences: SentenceEncoder) -> None:
    with stand_in_server(lambda body: (200, completion(f'{{"{KEY}": "A bowl of soup."}}'))) as server:
        row = rewrite(CAPTIONS, server.client(), sentences, replace(EMBEDDED, max_attempts=2))["c2"]
    assert (row["status"], row["caption"], row["attempts"]) == ("failed", None, 2)
    assert "A bowl of soup." in row["last_answer"]
    assert row["similarity"] < 0.5


SHORT = replace(CHAT, max_caption_tokens=25, max_attempts=3)
GIVEN = "A man with a hat walks his dog in a park. It is sunny and the trees are green. A lake lies behind them."
FITS = "A man with a hat walks his dog in a sunny park."


def rewrite_with(sentences: SentenceEncoder, *answers: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    replies = iter(answers)
    with stand_in_server(lambda body: (200, completion(json.dumps({KEY: next(replies)})))) as server:
        row = rewrite({"c1": GIVEN}, server.client(), sentences, SHORT)["c1"]
    return row, server.received


def test_a_long_rewrite_is_asked_for_again_shorter(sentences: SentenceEncoder) -> None:
    row, sent = rewrite_with(sentences, GIVEN, "A cat.", FITS)
    assert (row["caption"], row["status"], row["attempts"]) == (FITS, "rewritten", 3)
    first, second, third = (body["messages"] for body in sent)
    assert second[:-2] == third == first
    assert second[-2] == {"role": "assistant", "content": json.dumps({KEY: GIVEN})}
    assert "at most 16 words" in second[-1]["content"]


def test_a_rewrite_that_gets_no_shorter_is_kept_and_marked(sentences: SentenceEncoder) -> None:
    row, _ = rewrite_with(sentences, GIVEN, "A cat.", "A dog.")
    assert (row["caption"], row["status"], row["attempts"], row["similarity"]) == (GIVEN, "long", 3, 1.0)
    assert row["last_answer"] is None


def test_a_chat_server_samples_as_easyanimate_does_whatever_else_is_set() -> None:
    section = parse_settings({"rewriting": {"engine": "chat", "chat": {"base_url": "http://x", "model": "m"}}}, "x")
    rewriter = rewriter_of(section.rewriting, "m", "")
    assert (rewriter.temperature, rewriter.max_tokens, rewriter.max_attempts) == (0.7, 1024, 10)


def test_a_prompt_of_ones_own_replaces_the_packaged_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(f'Say it shorter. {{"{KEY}": "like this"}}\n', encoding="utf-8")
    section = parse_settings({"rewriting": {"prompt": str(file)}}, "x.yaml").rewriting
    rewriter = rewriter_of(section, "m", "")
    assert rewriter.prompt.messages("A cat.")[0]["content"].startswith("Say it shorter.")
    assert rewriter.prompt.sha256 != EMBEDDED.prompt.sha256
    with pytest.raises(ValueError, match="placeholder"):
        check_rewrite("like this", "like this", 1.0, rewriter)
    with pytest.raises(SettingsError, match=r"rewriting\.prompt: the last example has no answer"):
        rewriter_of(Rewriting(prompt="Say it.\n===\nA cat."), "m", "")


def test_a_server_that_fails_is_no_verdict_on_the_caption(sentences: SentenceEncoder) -> None:
    with stand_in_server(lambda body: (500, b"{}")) as server:
        result = rewrite({"c1": CAPTIONS["c1"]}, server.client(max_retries=0), sentences, EMBEDDED)["c1"]
    assert isinstance(result, TransientError)


def test_prompts_ask_for_the_key_and_small_ones_show_an_example() -> None:
    large, small = CHAT.prompt, EMBEDDED.prompt
    assert f'{{"{KEY}": "{PLACEHOLDER}"}}' in large.text
    assert [turn["role"] for turn in large.messages("A cat.")] == ["user"]
    assert large.messages("A cat.")[0]["content"].endswith("Description:\nA cat.")
    assert [turn["role"] for turn in small.messages("A cat.")] == ["system", "user", "assistant", "user"]
    for given, wanted in small.examples:
        check_rewrite(wanted, given, 1.0, EMBEDDED)


def test_with_rewriting_off_the_caption_stays() -> None:
    row = unchanged("c1", "A cat.")
    assert list(row) == list(REWRITTEN_CAPTIONS.stage_columns)
    assert (row["caption"], row["original_caption"], row["status"]) == ("A cat.", "A cat.", "unchanged")
