"""A server of one's own starts, or says why not, and is gone with all that it started, however its user ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from resources import process_group
from resources.errors import EngineUnavailable
from resources.process_group import members
from resources.vllm_server import VllmServer, require_vllm, vllm_server
from tests.processes import command, groups_of, wait_until
from tests.stand_in_vllm import GPUS, stand_in_python

Server = Callable[..., VllmServer]


class StepFailed(Exception):
    pass


@pytest.fixture
def server(tmp_path: Path) -> Server:
    python = stand_in_python(tmp_path)

    def made(behaviour: str = "well", **options: Any) -> VllmServer:
        own = {"python": python, "arguments": (f"--stand-in={behaviour}",), **options}
        return VllmServer("/models/qwen", "Qwen/Qwen2.5-VL-7B", "captions.vllm", **own)

    return made


def servers_of(process: int) -> list[int]:
    """The process groups of vLLM servers alone: a test before may have started other programs so."""
    return [group for group in groups_of(process) if "vllm.entrypoints" in command(group)]


def command_line(base_url: str) -> list[str]:
    """What the running stand-in was started with."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(base_url) as answer:
        return list(json.load(answer))


def test_the_server_gets_the_options_and_the_visible_gpus(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "4")
    said: list[str] = []
    vllm = server(revision="abc123", dtype="float16", images=8, arguments=("--enforce-eager=1",))
    with vllm_server(vllm, said.append) as url:
        module, *options = command_line(url)[1:]
        host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    assert module == "vllm.entrypoints.openai.api_server"
    assert options == [
        f"--host={host}",
        f"--port={port}",
        "--disable-uvicorn-access-log",
        "--model=/models/qwen",
        "--served-model-name=Qwen/Qwen2.5-VL-7B",
        "--revision=abc123",
        "--tokenizer-revision=abc123",
        "--tensor-parallel-size=4",
        "--dtype=float16",
        "--max-model-len=8192",
        "--gpu-memory-utilization=0.9",
        '--limit-mm-per-prompt={"image": 8, "video": 0}',
        "--enforce-eager=1",
    ]
    assert host == "127.0.0.1"
    assert len(said) == 1
    assert said[0].startswith("captions.vllm: vLLM serves Qwen/Qwen2.5-VL-7B after ")


def test_as_many_gpus_as_the_settings_say(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "4")
    with vllm_server(server(gpus=1), print) as url:
        assert not any("tensor-parallel" in option for option in command_line(url))


def test_more_gpus_than_there_are_is_known_before_a_server_is_started(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GPUS, "2")
    require_vllm(server(gpus=2))
    with pytest.raises(EngineUnavailable, match=r"^captions\.vllm\.gpus: 4 can't be used; .* sees 2: use as many"):
        require_vllm(server(gpus=4))


def test_prompts_are_whole_on_a_cpu_where_vllm_dies_of_pieces_with_a_seed(server: Server) -> None:
    with vllm_server(server(), print) as url:
        assert "--no-enable-chunked-prefill" in command_line(url)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_after_the_step(server: Server, fails: bool) -> None:
    group = 0
    with suppress(StepFailed), vllm_server(server(), print):
        [group] = servers_of(os.getpid())
        wait_until(lambda: len(members(group)) == 3, "watcher, server and its child run")
        if fails:
            raise StepFailed
    assert group
    assert not members(group)


def test_nothing_is_left_when_the_step_is_killed(server: Server) -> None:
    program = (
        "from resources.vllm_server import VllmServer, vllm_server\n"
        f"with vllm_server({server()!r}, print):\n"
        "    print('up', flush=True)\n"
        "    input()\n"
    )
    step = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert step.stdout is not None
    while step.stdout.readline() != "up\n":
        assert step.poll() is None
    [group] = servers_of(step.pid)
    step.kill()
    step.communicate()
    wait_until(lambda: not members(group), "the server's processes end")


def test_a_server_that_ends_in_mid_step_takes_its_children_along_and_leaves_its_last_words(server: Server) -> None:
    said: list[str] = []
    with vllm_server(server(), said.append):
        [group] = servers_of(os.getpid())
        wait_until(lambda: len(members(group)) == 3, "watcher, server and its child run")
        [api_server] = [process for process in members(group) if process != group and "--host" in command(process)]
        os.kill(api_server, signal.SIGKILL)
        wait_until(lambda: not members(group), "the server's processes end")
    assert said[-1] == (
        f"captions.vllm: vLLM's server of Qwen/Qwen2.5-VL-7B ended in mid-step; its log says: {process_group.ENDED} -9"
    )


def test_a_crash_at_the_start_says_its_cause(server: Server) -> None:
    with pytest.raises(EngineUnavailable) as caught, vllm_server(server("crash"), print):
        pass
    assert str(caught.value) == (
        "captions.vllm: vLLM could not serve /models/qwen; its log says: ValueError: Available memory is too small | "
        f"{process_group.ENDED} 1; change captions.vllm, or captions.vllm.arguments where vLLM wants another option"
    )
    assert not servers_of(os.getpid())


def test_a_start_that_takes_too_long_is_given_up(server: Server) -> None:
    with (
        pytest.raises(EngineUnavailable, match=r"within 1 s; raise captions.vllm.start_timeout_s; .* Loading weights"),
        vllm_server(server("slow", start_timeout_s=1.0), print),
    ):
        pass
    assert not servers_of(os.getpid())


def test_an_environment_without_vllm_is_named_with_the_command_that_makes_one(server: Server, tmp_path: Path) -> None:
    without = tmp_path / "without"
    without.write_text("#!/bin/sh\necho none\n")
    without.chmod(0o755)
    remedy = r"not installed\); get it by: python3 -m venv .* vllm==\S+, then captions.vllm.python: "
    with pytest.raises(EngineUnavailable, match=remedy), vllm_server(server(python=str(without)), print):
        pass
    missing = "captions.vllm.python: /no/python can't be run"
    with pytest.raises(EngineUnavailable, match=missing), vllm_server(server(python="/no/python"), print):
        pass


def test_what_ignores_being_asked_is_killed() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    watcher = process_group.start([sys.executable, "-c", deaf], 0.5, stdout=subprocess.PIPE)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == b"deaf\n"
    process_group.stop(watcher, 0.5)
    assert not members(watcher.pid)
