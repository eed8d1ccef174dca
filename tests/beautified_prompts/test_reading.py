"""What counts as a prompt file, and what is said of one that doesn't."""

import hashlib
from pathlib import Path

import pytest

from curation_assets.beautified_prompts.reading import read_prompts
from resources.errors import InputError


def test_every_row_is_kept_and_duplicates_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a cat"}\n\n{"prompt": "a dog", "n": 1}\n{"prompt": "a cat"}\n', encoding="utf-8")
    rows = read_prompts(str(file))
    assert [(row["prompt"], row["occurrence"], row["position"]) for row in rows] == [
        ("a cat", 0, 1),
        ("a dog", 0, 2),
        ("a cat", 1, 3),
    ]
    assert rows[0]["prompt_sha256"] == hashlib.sha256(b"a cat").hexdigest()
    assert len({row["prompt_id"] for row in rows}) == 3


def test_csv_prompts_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text('\ufeffid,text\n1,"a ""big"" cat,\nasleep"\n2,café\n', encoding="utf-8")
    assert [row["prompt"] for row in read_prompts(str(file), "text")] == ['a "big" cat,\nasleep', "café"]


def test_a_json_array_holds_prompts_too(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('[{"prompt": "a cat"}, {"prompt": "café"}]', encoding="utf-8")
    assert [row["prompt"] for row in read_prompts(str(file))] == ["a cat", "café"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"prompt": " "}', "row 2 has no prompt"),
        ('{"other": "x"}', "row 2 has no prompt"),
        ('{"prompt": 7}', "row 2 has a prompt that is no text"),
        (r'{"prompt": "\ud800"}', "row 2 has a prompt with half a character"),
    ],
)
def test_a_row_without_a_prompt_is_a_failed_row(tmp_path: Path, line: str, why: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(f'{{"prompt": "a cat"}}\n{line}\n', encoding="utf-8")
    good, bad = read_prompts(str(file))
    assert good["error"] is None
    assert bad["prompt"] is None
    assert why in bad["error"]


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("p.txt", b"a cat", r"a prompt file is a \.csv, \.json or \.jsonl file"),
        ("p.jsonl", b'{"text": "a cat"}', r"no column 'prompt' \(it has text\)"),
        ("p.jsonl", b"", r"no column 'prompt' \(it has none\)"),
        ("p.jsonl", b'{"prompt": "a cat"}\n{"prom', "line 2 is no JSON object"),
        ("p.json", b'{"prompt": "a cat"}', "no JSON array of objects"),
        ("p.json", b'[{"prompt": "a c', "no JSON array of objects"),
        ("p.csv", b"prompt\n\xff\xfe", "not in UTF-8"),
        ("p.csv", b'prompt\n"a cat', "not readable as CSV"),
    ],
)
def test_an_unusable_file_is_refused_with_the_reason(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: .*{why}"):
        read_prompts(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: No such file"):
        read_prompts(str(tmp_path / "none.csv"))
