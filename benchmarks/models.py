"""Stages of embedded models beside the models alone, and a chat stage beside a load generator on the same server.

python -m benchmarks.models
"""

import http.client
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import inputs
from benchmarks.measure import Cost, cost_of, median, median_ratio
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

MODEL_AIM, CHAT_AIM = 0.9, 0.95
ONE_WORKER = {"execution": {"workers": 1}}
TABLES = {  # frames of a clip that the model looks at
    "semantic_scores": ("EfficientNet-lite0, cosines", 9),
    "technical_scores": ("picture measures", 9),
    "text_scores": ("RapidOCR", 1),
    "captions": ("EfficientNet-lite0 and facts", 8),
    "alignment_scores": ("EfficientNet-lite0, MiniLM", 8),
}
CAPTION = "What may be a taxi, with strong motion and mostly yellow and grey colours."
CLIPS = 16
CONCURRENCY = 2
CAPTIONS = [
    f"A {seconds}-second clip that may show {thing}, with {motion} motion and mostly {colours} colours."
    for thing, seconds, motion, colours in product(
        ("a taxi", "a suspension bridge", "an albatross", "a mountain bike"),
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
            alone.append(Cost(*seconds))
        cost, limit, speed = median(costs), median(alone), median_ratio(alone, costs)
        count = frames * len(clips)
        section.add(
            table,
            model,
            *(f for each in (cost, limit) for f in (f"{count / each.wall_s:.0f}", f"{1000 * each.cpu_s / count:.1f}")),
            f"{speed.cpu_s:.2f}",
            f"{speed.wall_s:.2f}",
        )
        section.targets.append(
            Target(
                f"{table}: stage against the model alone, CPU seconds",
                f">= {MODEL_AIM} of its speed",
                f"{speed.cpu_s:.2f}",
                speed.cpu_s >= MODEL_AIM,
            )
        )
    section.remarks.append(
        f"{CLIPS} clips of real footage, medians of {rounds} pairs of runs, each model loaded before. The stage reads "
        "the frames' zips, decodes their JPEGs, which is nearly all of the difference, and sends rows back."
    )
    return section


def work_of(table: str, engines: Any, clip: Row) -> Work:
    known = {**clip, "caption": CAPTION, "motion_score": 1.0, "texts": []}
    return Work(clip["clip_id"], SHARD, known, {table: tuple(engines)}, {})


def chat_section(folder: Path, rounds: int) -> Section:
    section = Section(
        "A chat stage beside a load generator on the same server",
        ("", "tokens written", "tokens/s", "requests/s", "of the generator's speed"),
    )
    with embedded_llm_server() as url:
        settings = parse_settings(rewriting_settings(url), "benchmark")
        home = Home(folder, settings)
        rewriter = rewriter_of(settings.rewriting, embedded_llm_identity().model, "")
        rewrite(home, settings)
        runs = [(rewrite(home, settings), generate(url, rewriter)) for _ in range(rounds)]
    if len({tokens for run in runs for tokens, _ in run}) > 1:
        raise SystemExit(f"stage and generator did not get the same answers: {runs}")
    (tokens, _), _ = runs[0]
    ours, theirs = ([Cost(seconds, seconds) for _, seconds in which] for which in zip(*runs, strict=True))
    speed = median_ratio(theirs, ours).wall_s
    for what, costs, share in (("rewritten_captions", ours, f"{speed:.2f}"), ("load generator", theirs, "1")):
        wall_s = median(costs).wall_s
        section.add(what, f"{tokens}", f"{tokens / wall_s:.1f}", f"{len(CAPTIONS) / wall_s:.2f}", share)
    section.remarks.append(
        f"SmolLM2-135M on llama.cpp, {len(CAPTIONS)} captions, {CONCURRENCY} at once, medians of {rounds} pairs of "
        "runs. The generator posts the stage's very requests and throws the answers away."
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


def rewriting_settings(url: str) -> dict[str, Any]:
    """The requests of engine `embedded`, to a server that is there already."""
    server = {"base_url": url, "model": embedded_llm_identity().model, "concurrency": CONCURRENCY}
    sampling = {"temperature": 0.0, "max_tokens": EMBEDDED_MAX_TOKENS}
    prompt = packaged_prompt("curation_assets.captions", "rewrite_small")
    return {"rewriting": {"engine": "chat", "max_attempts": 1, "prompt": prompt, "chat": {**server, **sampling}}}


def rewrite(home: Home, settings: Settings) -> tuple[int, float]:
    """Tokens written and seconds of the stage."""
    table = "rewritten_captions"
    work = [
        Work(name, SHARD, {"clip_id": name, "caption": text}, {table: ("",)}, {}) for name, text in named_captions()
    ]
    started = time.perf_counter()
    rows = [done.outcome for done in home.assets[table].compute(work, Tools(settings, Files(str(home.folder))))]
    seconds = time.perf_counter() - started
    if failures := [outcome for outcome in rows if isinstance(outcome, Exception)]:
        raise failures[0]
    return sum(row["completion_tokens"] for (row,) in rows), seconds  # type: ignore[misc]


def generate(url: str, rewriter: Rewriter) -> tuple[int, float]:
    """The same of clients that do nothing but post the stage's first requests."""
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

    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as clients:
        tokens = sum(clients.map(client, range(CONCURRENCY)))
    return tokens, time.perf_counter() - started


def named_captions() -> Iterator[tuple[str, str]]:
    return ((f"{number:016x}-00000000-00001000", caption) for number, caption in enumerate(CAPTIONS))


if __name__ == "__main__":
    main()
