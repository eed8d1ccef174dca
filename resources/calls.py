"""A call of a function that yields table rows or what they are made from, as it travels to a worker process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """`unit` and `engine` say whose rows the call makes, or what they are made from."""

    unit: str
    engine: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]


def run_call(call: Call) -> list[Row]:
    return as_rows(result_of(call))


def result_of(call: Call) -> Any:
    return call.function(**call.arguments)


def as_rows(result: Row | list[Row]) -> list[Row]:
    return result if isinstance(result, list) else [result]
