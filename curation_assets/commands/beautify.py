"""`reelhouse beautify`: one prompt, or a file of them as an asset; and which server to ask."""

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping

from pydantic import ValidationError

from curation_assets.beautified_prompts.beautifying import beautifier_of, beautify_prompts, unchanged
from curation_assets.beautified_prompts.reading import SUFFIXES, read_prompts
from curation_assets.commands import FAILED, OK, summary, wrong_use
from curation_assets.commands.arguments import source_name, whole_path
from curation_assets.commands.live import Board, run_terminal, shown
from curation_assets.home import open_home
from curation_assets.inspection.failures import find_failures
from curation_assets.language_models import language_model
from curation_assets.orchestration.headless import OF_PROMPTS, HeadlessRun, open_instance
from curation_assets.settings import Beautifying, Settings, SettingsError, home_path, load_settings
from resources.errors import InputError
from resources.text import one_line, printable, without_login

FLAGS = ("template", "max_words", "max_attempts")


def run(options: argparse.Namespace) -> int:
    settings = load_settings()
    section = with_server(
        with_flags(settings.beautifying, options),
        options.base_url,
        options.api_key_env,
        options.model,
        environment=os.environ,
    )
    if os.path.isfile(options.prompt) or options.prompt.lower().endswith(SUFFIXES):
        return _beautify_file(settings.model_copy(update={"beautifying": section}), options)
    print(beautify_one(options.prompt, section))
    return OK


def _beautify_file(settings: Settings, options: argparse.Namespace) -> int:
    file = whole_path(options.prompt)
    try:
        read_prompts(file, options.column)  # before anything is made
    except InputError as failure:
        return wrong_use(str(failure))
    console, board = run_terminal(), Board()
    home = home_path()
    name = options.name or source_name(file, options.column)
    with open_instance(home) as instance:
        job = HeadlessRun(settings, home, instance, board.see)
        board.expect(OF_PROMPTS)
        with shown(board, console):
            job.prompts(name, {"path": file, "column": options.column}, options.retry_failed)
        summary.print_assets(console, job.outcome.materialized)
        failures = find_failures(open_home(home).store, OF_PROMPTS, [name])
        summary.print_failures(console, job.outcome.step_failures, failures)
    columns = '"prompt", "beautified_prompt"'
    query = f'pl.scan_delta("{home}/tables/beautified_prompts").filter(shard="{name}").sort("position")'
    console.print("Query with polars: ", f"{query}.select({columns}).collect()", markup=False, soft_wrap=True)
    return FAILED if failures or job.outcome.step_failures else OK


def with_flags(section: Beautifying, options: argparse.Namespace) -> Beautifying:
    """The section with what the command line says of template, words and attempts. Raises SettingsError."""
    given = {name: getattr(options, name) for name in FLAGS if getattr(options, name) is not None}
    try:
        return Beautifying.model_validate(section.model_dump(exclude_unset=True) | given)
    except ValidationError as failure:
        raise SettingsError("; ".join(f"--{error['loc'][0]}: {error['msg']}" for error in failure.errors())) from None


def with_server(
    section: Beautifying,
    base_url: str | None,
    api_key_env: str | None,
    model: str | None,
    environment: Mapping[str, str],
) -> Beautifying:
    """The section with the server to ask: as the arguments say, else the settings, else the environment.

    The environment's are OPENAI_BASE_URL and OPENAI_API_KEY. An engine that the settings name outranks the
    environment; where nothing names a server the section stays as it is. Raises SettingsError for a server without
    model, or a model without server.
    """
    open_to_server = section.engine == "chat" or "engine" not in section.model_fields_set
    chosen = base_url
    if not chosen and open_to_server:
        chosen = section.chat.base_url or environment.get("OPENAI_BASE_URL")
    if not chosen:
        if model or api_key_env:
            raise SettingsError("--model and --api-key-env are for a server; name it with --base-url")
        return section
    model = model or section.chat.model
    if model is None:
        raise SettingsError(
            f"no model is named for {without_login(chosen)}; name it with --model or beautifying.chat.model"
        )
    key_env = api_key_env or section.chat.api_key_env
    if key_env is None and environment.get("OPENAI_API_KEY"):
        key_env = "OPENAI_API_KEY"
    chat = section.chat.model_copy(update={"base_url": chosen, "api_key_env": key_env, "model": model})
    return section.model_copy(update={"engine": "chat", "chat": chat})


def _say_aside(message: str) -> None:
    """To the terminal, not among the results."""
    print(printable(message), file=sys.stderr)


def beautify_one(prompt: str, section: Beautifying) -> str:
    """The beautified prompt; nothing is stored.

    Raises InputError when no answer was usable, TransientError or EngineUnavailable when the server or the embedded
    engine fails.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty; write some words")
    if section.engine == "off":
        return str(unchanged(prompt)["beautified_prompt"])
    unit = {"prompt_sha256": hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(), "prompt": prompt}
    with language_model(section, "beautifying", _say_aside) as (client, revision):
        client.check()
        [(_, outcome)] = beautify_prompts([unit], client, beautifier_of(section, client.model, revision))
    if isinstance(outcome, Exception):
        raise outcome
    if outcome["beautified_prompt"] is None:
        last = one_line(outcome["last_answer"])
        raise InputError(f"no answer of {outcome['attempts']} was a usable description; the last one: {last}")
    return str(outcome["beautified_prompt"])
