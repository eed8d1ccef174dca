"""A call that answers with parts ends as one that does its work itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from resources.calls import Call, Row, Split, rows_of
from resources.errors import TransientError


def in_reverse(
    function: Callable[[Call], Any], calls: Sequence[Call], *, more: Callable[[Call, Any], Iterable[Call]]
) -> Iterator[tuple[Call, Any]]:
    """What a pool may do: the last call ends first, and parts before what they are parts of."""
    for call in reversed(calls):
        try:
            outcome = function(call)
        except Exception as failure:
            outcome = failure
        yield from in_reverse(function, list(more(call, outcome)), more=more)
        yield call, outcome


def letter(text: str) -> str:
    if not text.isalpha():
        raise TransientError(f"no letter: {text}")
    return text


def spelled(letters: Sequence[str]) -> list[Row] | None:
    return [{"word": "".join(letters)}] if letters[0].isupper() else None


def spell(text: str) -> Row | Split:
    if len(text) == 1:
        return {"word": letter(text)}
    return Split([partial(letter, each) for each in text], spelled, lambda: [{"word": f"{text} as a whole"}])


def outcomes(*texts: str) -> dict[str, list[Row] | Exception]:
    calls = [Call(text, "", spell, {"text": text}) for text in texts]
    return {call.unit: outcome for call, outcome in rows_of(in_reverse, calls)}


def test_parts_are_joined_in_their_order_whichever_ends_first() -> None:
    assert outcomes("Reel", "a", "House") == {
        "Reel": [{"word": "Reel"}],
        "a": [{"word": "a"}],
        "House": [{"word": "House"}],
    }


def test_the_whole_is_done_where_parts_do_not_fit() -> None:
    assert outcomes("reel", "House") == {"reel": [{"word": "reel as a whole"}], "House": [{"word": "House"}]}


def test_a_failed_part_fails_its_call_alone() -> None:
    found = outcomes("R33l", "House", "7")
    assert str(found.pop("R33l")) == "no letter: 3"
    assert isinstance(found.pop("7"), TransientError)
    assert found == {"House": [{"word": "House"}]}
