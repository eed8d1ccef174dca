"""Stages of embedded models beside the models alone, and a chat stage beside a load generator on the same server.

python -m benchmarks.models
"""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import inputs
from benchmarks.measure import Cost, cost_of, cpu_s, median, median_ratio
from benchmarks.models_alone import seconds_alone
from benchmarks.report import Section, Target, show
from benchmarks.stages import SHARD, Home
from curation_assets.captions.rewriting import EMBEDDED_MAX_TOKENS, Rewriter, rewriter_of
from curation_assets.incremental.work import Work
from curation_assets.settings import Settings, parse_settings
from curation_assets.tables import Row
from curation_assets.tools import Tools
from curation_assets.writing import attempt_seed, packaged_prompt
from resources.files import Files
from resources.llama_server import embedded_llm_identity, embedded_llm_server
from resources.sampling import STORED_FRAMES
from resources.spent import Spent
from resources.workers import available_cores

MODEL_AIM, CHAT_AIM = 0.9, 0.95
ONE_WORKER = {"execution": {"workers": 1}}
TABLES = {  # frames of a clip that the model looks at
    "semantic_scores": ("EfficientNet-lite0, cosines", 9),
    "technical_scores": ("picture measures", 9),
    "text_scores": ("RapidOCR", 1),
    "captions": ("EfficientNet-lite0 and facts", 8),
    "alignment_scores": ("EfficientNet-lite0, MiniLM", 8),
}
WITHOUT_MODEL = ("technical_scores",)
CAPTION = "What may be a taxi, with strong motion and mostly yellow and grey colours."
CLIPS = 8
CONCURRENCY = 2
CAPTIONS = [
    f"A {seconds}-second clip that may show {thing}, with {motion} motion and mostly {colours} colours."
    for thing, seconds, motion, colours in product(
        ("a taxi", "a suspension bridge", "an albatross"),
        (3, 7),
        ("little", "strong"),
        ("grey and brown",),
    )
]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="reelhouse-models-") as folder:
        show(models_sections(Path(folder), rounds=3))


def models_sections(folder: Path, rounds: int) -> list[Section]:
    return [models_section(folder / "models", rounds), chat_section(folder / "chat", rounds)]


def models_section(folder: Path, rounds: int) -> Section:
    settings = parse_settings(ONE_WORKER, "benchmark")
    home = Home.of([inputs.footage(name) for name in inputs.FOOTAGE], folder, settings)
    for table in ("scenes", "clips", "frames"):
        home.make(table)
    clips = (home.clips("frames").join(home.rows("frames"), on="clip_id").to_dicts() * CLIPS)[:CLIPS]
    files = Files(str(home.folder))
    packed = [files.read(clip["frames_path"]) for clip in clips]
    section = Section(
        "Models in one worker, beside themselves on frames in memory",
        (
            "asset",
            "model",
            "frames/s",
            "CPU ms a frame",
            "alone: frames/s",
            "CPU ms a frame",
            "of its speed: CPU",
            "wall",
        ),
    )
    decoding_s = []
    for table, (model, frames) in TABLES.items():
        tools = Tools(settings, files)
        work = [work_of(table, home.assets[table].stages[0].engines or {"": {}}, clip) for clip in clips]

        def stage(table: str = table, work: Sequence[Work] = work, tools: Tools = tools) -> None:
            for done in home.assets[table].compute(work, tools):
                if isinstance(done.outcome, Exception):
                    raise done.outcome

        stage()
        costs, alone = [], []
        for _ in range(rounds):
            costs.append(cost_of(stage))
            ((_, seconds),) = tools.pool.map(seconds_alone, [(table, CAPTION, packed)])
            if isinstance(seconds, Exception):
                raise seconds
            alone.append(Cost(*seconds[:2]))
            decoding_s.append(seconds[2])
        cost, limit, speed = median(costs), median(alone), median_ratio(alone, costs)
        count = frames * len(clips)
        section.add(
            table,
            model,
            *(f for each in (cost, limit) for f in (f"{count / each.wall_s:.0f}", f"{1000 * each.cpu_s / count:.1f}")),
            f"{speed.cpu_s:.2f}",
            f"{speed.wall_s:.2f}",
        )
        if table not in WITHOUT_MODEL:
            section.targets.append(
                Target(
                    f"{table}: stage against the model alone, CPU seconds",
                    f">= {MODEL_AIM} of its speed",
                    f"{speed.cpu_s:.2f}",
                    speed.cpu_s >= MODEL_AIM,
                )
            )
    decoding_ms = 1000 * statistics.median(decoding_s) / (STORED_FRAMES * len(clips))
    section.remarks.append(
        f"{CLIPS} clips of real footage, medians of {rounds} pairs of runs, each model loaded before. The stage reads "
        f"the frames' zips, decodes their JPEGs, which takes libjpeg-turbo {decoding_ms:.1f} CPU ms a frame and is "
        f"nearly all of the difference, and sends rows back. {', '.join(WITHOUT_MODEL)}: measures without a model, so "
        "cheap that no way of decoding is small beside them; they have no target."
    )
    return section


def work_of(table: str, engines: Any, clip: Row) -> Work:
    known = {**clip, "caption": CAPTION, "motion_score": 1.0, "texts": []}
    return Work(clip["clip_id"], SHARD, known, {table: tuple(engines)}, {})


def chat_section(folder: Path, rounds: int) -> Section:
    section = Section(
        "A chat stage beside a load generator on the same server",
        ("", "tokens written", "tokens/s", "server: CPU s", "client: CPU s", "of the generator's speed"),
    )
    with embedded_llm_server(max(1, available_cores() - 1)) as url:
        settings = parse_settings(rewriting_settings(url), "benchmark")
        home = Home(folder, settings)
        rewriter = rewriter_of(settings.rewriting, embedded_llm_identity().model, "")
        rewrite(home, settings)
        asking = Spent()

        def stage() -> int:
            with asking.collected():
                return rewrite(home, settings)

        sides: list[tuple[Callable[[], int], list[Asked]]] = [(stage, []), (lambda: generate(url, rewriter), [])]
        for number in range(rounds):
            for ask, asked in sides[:: 1 if number % 2 else -1]:
                asked.append(cost_of_asking(ask))
    ours, theirs = (asked for _, asked in sides)
    if len({asked.tokens for asked in (*ours, *theirs)}) > 1:
        raise SystemExit(f"stage and generator did not get the same answers: {ours}, {theirs}")
    speed = median_ratio([asked.cost for asked in theirs], [asked.cost for asked in ours]).wall_s
    for what, runs, share in (("rewritten_captions", ours, f"{speed:.2f}"), ("load generator", theirs, "1")):
        cost, client_s = median([asked.cost for asked in runs]), statistics.median(asked.client_s for asked in runs)
        tokens = runs[0].tokens
        section.add(
            what, f"{tokens}", f"{tokens / cost.wall_s:.1f}", f"{cost.cpu_s - client_s:.1f}", f"{client_s:.1f}", share
        )
    idle_s = sum(asked.cost.wall_s for asked in ours) - asking.seconds["server"]
    section.remarks.append(
        f"SmolLM2-135M on llama.cpp, {len(CAPTIONS)} captions, {CONCURRENCY} at once, medians of {rounds} pairs of "
        "runs, one or the other first. The server has all cores but one, as one on a GPU leaves them to its clients. "
        "The generator posts the stage's very requests and throws the answers away; the stage compares each with its "
        f"caption by the sentence encoder, and while it loads that, {idle_s / rounds:.2f} s a run, nothing is asked."
    )
    section.targets = [
        Target(
            "chat stage, tokens/s",
            f">= {CHAT_AIM} of a load generator's on the same server",
            f"{speed:.2f}",
            speed >= CHAT_AIM,
        )
    ]
    return section


@dataclass(frozen=True)
class Asked:
    """Tokens written and what that cost, of which `client_s` are CPU seconds on this side of the server."""

    tokens: int
    cost: Cost
    client_s: float


def cost_of_asking(ask: Callable[[], int]) -> Asked:
    clocks = time.perf_counter, cpu_s, time.process_time
    started = [clock() for clock in clocks]
    tokens = ask()
    wall_s, all_s, client_s = (clock() - since for clock, since in zip(clocks, started, strict=True))
    return Asked(tokens, Cost(wall_s, all_s), client_s)


def rewriting_settings(url: str) -> dict[str, Any]:
    """The requests of engine `embedded`, to a server that is there already."""
    server = {"base_url": url, "model": embedded_llm_identity().model, "concurrency": CONCURRENCY}
    sampling = {"temperature": 0.0, "max_tokens": EMBEDDED_MAX_TOKENS}
    prompt = packaged_prompt("curation_assets.captions", "rewrite_small")
    return {"rewriting": {"engine": "chat", "max_attempts": 1, "prompt": prompt, "chat": {**server, **sampling}}}


def rewrite(home: Home, settings: Settings) -> int:
    """Tokens written for the stage."""
    table = "rewritten_captions"
    work = [
        Work(name, SHARD, {"clip_id": name, "caption": text}, {table: ("",)}, {}) for name, text in named_captions()
    ]
    rows = [done.outcome for done in home.assets[table].compute(work, Tools(settings, Files(str(home.folder))))]
    if failures := [outcome for outcome in rows if isinstance(outcome, Exception)]:
        raise failures[0]
    return sum(row["completion_tokens"] for (row,) in rows)  # type: ignore[misc]


def generate(url: str, rewriter: Rewriter) -> int:
    """The same for clients that do nothing but post the stage's first requests."""
    schema = {"name": "answer", "schema": rewriter.prompt.json_schema, "strict": True}
    bodies = iter(
        [
            json.dumps(
                {
                    "model": rewriter.model,
                    "messages": rewriter.prompt.messages(caption),
                    "temperature": rewriter.temperature,
                    "max_tokens": rewriter.max_tokens,
                    "seed": attempt_seed(name, 0),
                    "response_format": {"type": "json_schema", "json_schema": schema},
                }
            )
            for name, caption in named_captions()
        ]
    )

    def client(_: int) -> int:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        tokens = 0
        for body in bodies:
            connection.request(
                "POST", f"{urlsplit(url).path}/chat/completions", body, {"Content-Type": "application/json"}
            )
            tokens += json.load(connection.getresponse())["usage"]["completion_tokens"]
        return tokens

    with ThreadPoolExecutor(CONCURRENCY) as clients:
        return sum(clients.map(client, range(CONCURRENCY)))


def named_captions() -> Iterator[tuple[str, str]]:
    return ((f"{number:016x}-00000000-00001000", caption) for number, caption in enumerate(CAPTIONS))


if __name__ == "__main__":
    main()
