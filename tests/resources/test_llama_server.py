"""The embedded language model's server: what an answer may depend on."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from resources.llama_server import embedded_llm_server

BEGINNING = "You rewrite descriptions. Keep every word but the first three. Add nothing. Answer in one sentence."
CAPTIONS = ["A clip of a red car in the snow.", "A clip of a red bus on a bridge.", "Somebody plays the piano."]
TOKENS = 12


def answer(url: str, caption: str, temperature: float = 0.0) -> tuple[str, list[float], int]:
    """The text, the probabilities of its tokens' nearest rivals, and how many tokens of the prompt were cached."""
    request = {
        "messages": [{"role": "system", "content": BEGINNING}, {"role": "user", "content": caption}],
        "temperature": temperature,
        "max_tokens": TOKENS,
        "seed": 7,
        "logprobs": True,
        "top_logprobs": 5,
    }
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{url}/chat/completions", json.dumps(request).encode(), {"Content-Type": "application/json"}
        )
    ) as response:
        answered: dict[str, Any] = json.load(response)
    choice = answered["choices"][0]
    rivals = [rival["logprob"] for token in choice["logprobs"]["content"] for rival in token["top_logprobs"]]
    return choice["message"]["content"], rivals, answered["timings"]["cache_n"]


def test_an_answer_is_the_same_to_the_last_bit_whatever_the_server_answered_before() -> None:
    with embedded_llm_server(threads=1) as url:
        *first, cached = answer(url, CAPTIONS[0])
        assert cached == 0
        *again, all_cached = answer(url, CAPTIONS[0])
        *_, half_cached = answer(url, CAPTIONS[1])
        *after_another, cached_again = answer(url, CAPTIONS[0])
        with ThreadPoolExecutor(3) as clients:
            together = list(clients.map(lambda caption: answer(url, caption)[:2], CAPTIONS))
        warm = answer(url, CAPTIONS[0], temperature=0.8)[:2]
    assert all_cached > cached_again >= half_cached > len(BEGINNING.split())
    assert again == after_another == list(together[0]) == first
    with embedded_llm_server(threads=2) as url:
        assert answer(url, CAPTIONS[0], temperature=0.8)[:2] == warm
        assert list(answer(url, CAPTIONS[0])[:2]) == first
