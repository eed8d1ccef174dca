"""Calls of functions that yield table rows or what they are made from, as they travel to worker processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

Row = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """`unit` and `engine` say whose rows the call makes, or what they are made from."""

    unit: str
    engine: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Split:
    """What a call may answer instead of rows: how to have its work done in parts, side by side in the workers.

    `join` makes the rows of what the parts give, in their order, or says None: then `whole` is run instead.
    """

    parts: Sequence[Callable[[], Any]]
    join: Callable[[Sequence[Any]], list[Row] | None]
    whole: Callable[[], list[Row]]


def run_call(call: Call) -> list[Row]:
    return as_rows(result_of(call))


def result_of(call: Call) -> Any:
    return call.function(**call.arguments)


def as_rows(result: Row | list[Row]) -> list[Row]:
    return result if isinstance(result, list) else [result]


class Run(Protocol):
    def __call__(
        self, function: Callable[[Call], Any], calls: Sequence[Call], /, *, more: Callable[[Call, Any], Iterable[Call]]
    ) -> Iterator[tuple[Call, Any]]:
        """Give each call with what the function makes of it, or the exception it ended in, in any order.

        So with the calls that `more` says of an outcome.
        """


@dataclass(frozen=True)
class _Part(Call):
    index: int


@dataclass
class _Gathering:
    """What is there of a split call's parts, by their index."""

    call: Call
    split: Split
    outcomes: dict[int, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return len(self.outcomes) == len(self.split.parts)

    def joined(self) -> list[Row] | Exception | None:
        in_order = [outcome for _, outcome in sorted(self.outcomes.items())]
        return next((failed for failed in in_order if isinstance(failed, Exception)), None) or self.split.join(in_order)


def rows_of(run: Run, calls: Sequence[Call]) -> Iterator[tuple[Call, list[Row] | Exception]]:
    """Each call with its rows, or the exception that it or one of its parts ended in, as they finish.

    Parts are run after all the calls, so that the last to end are small.
    """
    gathering: dict[tuple[str, str], _Gathering] = {}

    def parts(call: Call, outcome: Any) -> list[Call]:
        if not isinstance(outcome, Split):
            return []
        key = call.unit, call.engine
        gathering[key] = _Gathering(call, outcome)
        return [_Part(*key, part, {}, index) for index, part in enumerate(outcome.parts)]

    while calls:
        then: list[Call] = []
        for call, outcome in run(result_of, calls, more=parts):
            key = call.unit, call.engine
            if isinstance(outcome, Split):
                continue
            if not isinstance(call, _Part):
                yield call, outcome if isinstance(outcome, Exception) else as_rows(outcome)
            else:
                gathered = gathering[key]
                gathered.outcomes[call.index] = outcome
                if gathered.is_complete:
                    del gathering[key]
                    rows = gathered.joined()
                    if rows is None:
                        then.append(replace(gathered.call, function=gathered.split.whole, arguments={}))
                    else:
                        yield gathered.call, rows
        calls = then
