"""Reading a prompt file: the prompts in one column of a table, each with its hash and occurrence."""

import csv
import hashlib
import io
import json
from collections import Counter
from pathlib import PurePath
from typing import Any

from resources.errors import InputError
from resources.object_store import read_bytes
from resources.text import one_line

SUFFIXES = (".csv", ".json", ".jsonl")
COLUMN = "prompt"
MAX_PROMPT_CHARACTERS = 20_000


def read_prompts(file: str, column: str = COLUMN) -> list[dict[str, Any]]:
    """Rows of `prompts`, in the file's order; a row without a prompt has an `error`.

    `file` is a path or a URL of CSV, an array of JSON objects, or JSON lines. Raises InputError when it can't be read
    as such, or lacks the column.
    """
    suffix = PurePath(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{file}: a prompt file is a .csv, .json or .jsonl file; convert or rename it")
    try:
        text = read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file}: not in UTF-8; convert it") from None
    except OSError as failure:
        raise InputError(f"{file}: {failure.strerror or failure}; name a readable file") from None
    records = {".csv": _csv, ".json": _json, ".jsonl": _jsonl}[suffix](file, text)
    columns = sorted({name for record in records for name in record if name is not None})
    if column not in columns:
        known = one_line(", ".join(columns), 300) or "none"
        raise InputError(f"{file}: no column {column!r} (it has {known}); name the one that holds the prompts")
    seen = Counter[str]()
    return [_row(record.get(column), position, seen) for position, record in enumerate(records, start=1)]


def _csv(file: str, text: str) -> list[dict[Any, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as failure:
        raise InputError(f"{file}: not readable as CSV: {failure}; correct the file") from None


def _json(file: str, text: str) -> list[dict[Any, Any]]:
    try:
        records = json.loads(text)
    except (ValueError, RecursionError):
        records = None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{file}: no JSON array of objects; correct it")
    return records


def _jsonl(file: str, text: str) -> list[dict[Any, Any]]:
    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(f"{file}: line {number} is no JSON object; correct it")
        records.append(record)
    return records


def _row(value: Any, position: int, seen: Counter[str]) -> dict[str, Any]:
    error = None
    if value is None or (isinstance(value, str) and not value.strip()):
        error = f"row {position} has no prompt; fill it in"
    elif not isinstance(value, str):
        error = f"row {position} has a prompt that is no text; put it in quotes"
    elif len(value) > MAX_PROMPT_CHARACTERS:
        error = f"row {position} has {len(value)} characters, more than {MAX_PROMPT_CHARACTERS}; shorten it"
    elif not _is_unicode(value):
        error = f"row {position} has a prompt with half a character (a lone surrogate); correct it"
    prompt = None if error else value
    digest = hashlib.sha256((prompt or "").encode()).hexdigest()
    occurrence = seen[digest]
    seen[digest] += 1
    return {
        "prompt_id": f"{digest[:16]}-{occurrence}",
        "prompt_sha256": digest,
        "occurrence": occurrence,
        "position": position,
        "prompt": prompt,
        "error": error,
    }


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
