"""`reelhouse beautify`: a file to rows of a table, and a single prompt to the terminal."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.beautified_prompts.beautifying import KEY
from curation_assets.cli import main
from tests.stand_in_server import completion, stand_in_server

SECRET = "sk-very-secret-4711"
HELD = "hold"


class Model:
    """Answers each prompt by a description; the prompt `hold` waits, and `garbage` gets no JSON."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, body: dict[str, Any]) -> tuple[int, bytes]:
        prompt = body["messages"][-1]["content"].splitlines()[-1]
        self.asked.append(prompt)
        if prompt == HELD:
            self.released.wait(60)
        if prompt == "garbage":
            return 200, completion("I can't.")
        return 200, completion(json.dumps({KEY: f"A picture of {prompt}."}))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CURATION_HOME", "CURATION_SETTINGS", "DAGSTER_HOME", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
        monkeypatch.delenv(name)


def arguments(file: Path, home: Path, url: str) -> list[str]:
    """One request at a time, each result written at once."""
    settings = home / "settings.yaml"
    settings.write_text(
        "beautifying: {max_attempts: 2, chat: {concurrency: 1, temperature: 0.7}}\nexecution: {batch_units: 1}\n"
    )
    server = ["--base-url", url, "--model", "stand-in"]
    return ["beautify", str(file), "--home", str(home), "--settings", str(settings), "--name", file.stem, *server]


def write(file: Path, *prompts: str) -> Path:
    file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts), encoding="utf-8")
    return file


def rows(home: Path, name: str) -> list[dict[str, Any]]:
    return pl.read_delta(str(home / "tables/beautified_prompts")).filter(shard=name).sort("position").to_dicts()


def test_duplicates_stay_and_only_a_changed_prompt_is_asked_again(home: Path, tmp_path: Path) -> None:
    model = Model()
    file = write(tmp_path / "first.jsonl", "a cat", "a dog", "a cat")
    with stand_in_server(model) as server:
        assert main(arguments(file, home, server.url)) == 0
        assert sorted(model.asked) == ["a cat", "a dog"]
        assert [row["beautified_prompt"] for row in rows(home, "first")] == [
            "A picture of a cat.",
            "A picture of a dog.",
            "A picture of a cat.",
        ]
        assert [row["occurrence"] for row in rows(home, "first")] == [0, 0, 1]
        write(file, "a bird", "a cat", "a dog in rain", "a cat")
        model.asked.clear()
        assert main(arguments(file, home, server.url)) == 0
    assert sorted(model.asked) == ["a bird", "a dog in rain"]
    assert [row["prompt"] for row in rows(home, "first")] == ["a bird", "a cat", "a dog in rain", "a cat"]


def test_a_prompt_without_a_usable_answer_is_a_failed_row(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "second.jsonl", "garbage", "a cat", "")
    with stand_in_server(Model()) as server:
        assert main(arguments(file, home, server.url)) == 1
    failed, good, blocked = rows(home, "second")
    assert (failed["status"], failed["attempts"], failed["last_answer"]) == ("failed", 2, "I can't.")
    assert failed["error_kind"] == "input"
    assert "no answer of 2" in failed["error"]
    assert good["status"] == "ok"
    assert blocked["error"] == "prompts: row 3 has no prompt; fill it in"
    assert "garbage: no answer of 2" in capsys.readouterr().out


def test_a_failed_prompt_is_asked_again_on_request(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "refused.jsonl", "garbage", "a cat")
    with stand_in_server(Model()) as server:
        assert main(arguments(file, home, server.url)) == 1
    asked: list[str] = []

    def answers(body: dict[str, Any]) -> tuple[int, bytes]:
        asked.append(body["messages"][-1]["content"].splitlines()[-1])
        return 200, completion(json.dumps({KEY: "A heap of things."}))

    with stand_in_server(answers) as server:
        chat = f"{{base_url: {server.url}, model: stand-in, temperature: 0.7}}"
        settings = tmp_path / "settings.yaml"
        settings.write_text(f"beautifying: {{engine: chat, max_attempts: 2, chat: {chat}}}\n")
        where = ["--home", str(home), "--settings", str(settings)]
        assert main(["failures", "--retry", "--shard", "refused", *where]) == 0
    assert asked == ["garbage"]
    assert [row["status"] for row in rows(home, "refused")] == ["ok", "ok"]


def test_a_killed_run_goes_on_without_asking_twice(home: Path, tmp_path: Path) -> None:
    prompts = [f"cat {i}" for i in range(4)]
    file = write(tmp_path / "third.jsonl", *prompts[:2], HELD, *prompts[2:])
    model = Model()
    with stand_in_server(model) as server:
        command = [sys.executable, "-m", "curation_assets.cli", *arguments(file, home, server.url)]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            staged = home / "staging/beautified_prompts/third"
            deadline = time.monotonic() + 60
            while HELD not in model.asked or len(list(staged.glob("*.parquet"))) < len(model.asked) - 1:
                assert time.monotonic() < deadline
                assert run.poll() is None
                time.sleep(0.05)
        finally:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
        before = list(model.asked)
        model.asked.clear()
        model.released.set()
        assert main(arguments(file, home, server.url)) == 0
    assert sorted([*before, *model.asked]) == sorted([*prompts, HELD, HELD])
    assert [row["status"] for row in rows(home, "third")] == ["ok"] * 5


def test_one_prompt_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with stand_in_server(Model()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        assert main(["beautify", "a cat", "--base-url", server.url, "--model", "stand-in"]) == 0
        assert capsys.readouterr().out == "A picture of a cat.\n"
        assert server.received[0]["authorization"] == f"Bearer {SECRET}"
        assert main(["beautify", "garbage", "--model", "stand-in"]) == 1
    said = capsys.readouterr()
    assert "the last one: I can't." in said.err
    assert said.out == ""


def test_a_csv_files_other_column_can_hold_the_prompts(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "fifth.csv"
    file.write_text('id,text\n1,"a cat, asleep"\n2,a dog\n', encoding="utf-8")
    with stand_in_server(Model()) as server:
        assert main([*arguments(file, home, server.url), "--column", "text"]) == 0
    assert [row["beautified_prompt"] for row in rows(home, "fifth")] == [
        "A picture of a cat, asleep.",
        "A picture of a dog.",
    ]


def test_flags_outrank_the_environment_and_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("beautifying: {template: Not this., max_words: 100, max_attempts: 9}\n")
    template = tmp_path / "mine.txt"
    template.write_text("In {max_words} words:\n", encoding="utf-8")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = Model()
    with stand_in_server(model) as server:
        flags = ["--settings", str(settings), "--base-url", server.url, "--model", "stand-in", "--max-words", "5"]
        assert main(["beautify", "a cat", *flags, "--template", str(template)]) == 0
        assert main(["beautify", "a very large cat", *flags, "--template", "Go on.", "--max-attempts", "2"]) == 1
        first, *rest = (body["messages"][0]["content"] for body in server.received)
    assert first.startswith("In 5 words:")
    assert [text.startswith("Go on.") for text in rest] == [True, True]
    assert capsys.readouterr().out == "A picture of a cat.\n"


def test_a_template_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["beautify", "a cat", "--template", "none.txt"]) == 2
    assert "--template: " in (said := capsys.readouterr().err)
    assert "the file none.txt can't be read" in said


def test_without_a_server_the_packaged_model_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["beautify", "a dog running on the beach at sunset"]) == 0
    said = capsys.readouterr().out
    assert "dog" in said
    assert said.count("\n") == 1


def test_the_key_is_never_shown_or_stored(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    refusal = json.dumps({"error": {"message": f"wrong key {SECRET}"}}).encode()
    file = write(tmp_path / "fourth.jsonl", "a cat")
    with stand_in_server(lambda body: (401, refusal)) as server:
        assert main([*arguments(file, home, server.url), "--api-key-env", "MY_KEY"]) == 1
        assert server.received[0]["authorization"] == f"Bearer {SECRET}"
        assert main(["beautify", "a cat", "--base-url", server.url, "--model", "stand-in", "--api-key-env", "MY_KEY"])
    said = capsys.readouterr()
    assert "wrong key ***" in said.out
    assert "wrong key ***" in said.err
    assert SECRET not in said.out + said.err
    stored = [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert stored == []


def test_wrong_arguments_are_told_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "p.jsonl", "a cat")
    home = ["--home", str(tmp_path / "none")]
    assert main(["beautify", str(tmp_path / "missing.csv"), *home]) == 2
    assert main(["beautify", str(file), "--column", "text", *home]) == 2
    assert main(["beautify", "a cat", "--model", "m", *home]) == 2
    said = capsys.readouterr().err
    assert "missing.csv: No such file" in said
    assert "no column 'text' (it has prompt)" in said
    assert "name it with --base-url" in said
    assert not (tmp_path / "none").exists()
