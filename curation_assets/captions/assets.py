"""`captions`, `rewritten_captions` and `alignment_scores` of the selected clips."""

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from curation_assets.captions import from_frames
from curation_assets.captions.captioning import Captioner, caption_clips
from curation_assets.captions.rewriting import rewrite_captions, rewriter_of, unchanged
from curation_assets.engines import identity
from curation_assets.language import chat_client, explained, language_model, writer_settings
from curation_assets.refresh import Done, Row, Stage, Work, blocked_by
from curation_assets.settings import Rewriting, Settings, result_settings
from curation_assets.stage_asset import StageAsset, stage_asset
from curation_assets.tables import ALIGNMENT_SCORES, CAPTIONS, REWRITTEN_CAPTIONS
from curation_assets.tools import Tools
from curation_assets.units import Frames, selected_clips, stored_frames
from resources.errors import InputError, TransientError
from resources.image_encoder import image_encoder_identity
from resources.pictures import unpack_jpegs
from resources.sentence_encoder import open_sentence_encoder, sentence_encoder_identity

GROUP = "captions"
CLASSIFIER = "efficientnet_lite0"


def caption_assets(settings: Settings) -> list[StageAsset]:
    return [_captions(settings), _rewritten_captions(settings), _alignment_scores(settings)]


def _captions(settings: Settings) -> StageAsset:
    facts = settings.captions.engine == "facts"
    made_by = identity(image_encoder_identity, CLASSIFIER) if facts else result_settings(settings.captions)
    reads = {"clip_selection": ["clip_id", "selected"], "frames": ["clip_id", "frames_path", "frames_sha256"]}
    if facts:
        reads |= {
            "clips": ["clip_id", "duration_s"],
            "motion_scores": ["clip_id", "engine", "motion_score"],
            "text_scores": ["clip_id", "engine", "texts"],
        }
    stage = Stage(
        CAPTIONS,
        unit="clip_id",
        reads=reads,
        units=clips_with_facts if facts else selected_frames,
        version="1",
        effort="call",
        paid=True,
        settings={"engine": settings.captions.engine, **made_by},
        not_data=frozenset({"frames_path"}),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"python" if facts else "openai"})
    def captions(work: list[Work], tools: Tools) -> Iterable[Done]:
        """By engine `facts` a sentence of measured facts, marked as such; by `chat` what a vision model says."""
        if facts:
            return tools.rows_in_workers(
                from_frames.facts, work, lambda unit, _: {"files": tools.files, "made_by": made_by, **_own(unit)}
            )
        return _chat_captions(work, tools)

    return captions


def selected_frames(reads: Frames) -> pl.DataFrame:
    return stored_frames(reads).join(selected_clips(reads), on="clip_id")


def clips_with_facts(reads: Frames) -> pl.DataFrame:
    motion = reads["motion_scores"].filter(engine="dis").select("clip_id", "motion_score")
    texts = reads["text_scores"].unique("clip_id", keep="first", maintain_order=True).select("clip_id", "texts")
    return (
        selected_frames(reads)
        .join(reads["clips"].select("clip_id", "duration_s"), on="clip_id")
        .join(motion, on="clip_id", how="left")
        .join(texts, on="clip_id", how="left")
        .with_columns(pl.col("texts").fill_null([]))
    )


def _own(unit: Work) -> Row:
    names = ("frames_path", "frames_sha256", "duration_s", "motion_score", "texts")
    return {name: unit.values[name] for name in names}


def _chat_captions(work: list[Work], tools: Tools) -> Iterator[Done]:
    section = tools.settings.captions
    client = chat_client(section.chat, "captions.chat.base_url")
    client.check()
    captioner = Captioner(
        model=client.model,
        revision=section.chat.revision,
        prompt=section.prompt,
        frame_count=section.frame_count,
        temperature=section.chat.temperature,
        max_tokens=section.chat.max_tokens,
    )
    unreadable: list[Done] = []

    def units() -> Iterator[Row]:
        for unit in work:
            frames_sha256 = unit.values["frames_sha256"]
            try:
                data = from_frames.read_frames(tools.files, unit.values["frames_path"], frames_sha256)
                jpegs = unpack_jpegs(data, from_frames.UNIFORM_FRAMES)
            except (InputError, TransientError) as failure:
                unreadable.append(Done(unit.unit, failure))
            else:
                yield {"clip_id": unit.unit, "frames_sha256": frames_sha256, "jpegs": jpegs}

    for clip_id, outcome in caption_clips(units(), client, captioner):
        yield Done(clip_id, explained(outcome, "the server's answer was empty; change captions.prompt or the model"))
    yield from unreadable


def _rewritten_captions(settings: Settings) -> StageAsset:
    section = settings.rewriting
    stage = Stage(
        REWRITTEN_CAPTIONS,
        unit="clip_id",
        reads={"captions": ["clip_id", "caption"], "clip_selection": ["clip_id", "selected"]},
        units=captions_to_rewrite,
        version="1",
        effort="call" if section.engine != "off" else "arithmetic",
        paid=True,
        settings=_rewriting_settings(section),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"openai"})
    def rewritten_captions(work: list[Work], tools: Tools) -> Iterable[Done]:
        """A language model's version of the caption; answers that drift from it are refused and asked again."""
        if section.engine == "off":
            return tools.rows_here(lambda clip: unchanged(clip["clip_id"], clip["caption"]), work)
        return _rewrite(work, section)

    return rewritten_captions


def captions_to_rewrite(reads: Frames) -> pl.DataFrame:
    captions = reads["captions"].select("clip_id", "caption", blocked_by("captions"))
    return captions.join(selected_clips(reads), on="clip_id")


def _rewriting_settings(section: Rewriting) -> dict[str, Any]:
    if section.engine == "off":
        return {"engine": "off"}
    rewriter = rewriter_of(section, section.chat.model or "", section.chat.revision)
    encoder = identity(lambda _: sentence_encoder_identity()._asdict(), "minilm")
    return {**writer_settings(rewriter), "encoder": encoder}


def _rewrite(work: list[Work], section: Rewriting) -> Iterator[Done]:
    encoder = open_sentence_encoder()
    with language_model(section, "rewriting") as (client, revision):
        client.check()
        rewriter = rewriter_of(section, client.model, revision)
        units = ({"clip_id": unit.unit, "caption": unit.values["caption"]} for unit in work)
        why = f"no answer of {section.max_attempts} could stand for the caption; `last_answer` holds the last one"
        for clip_id, outcome in rewrite_captions(units, client, encoder, rewriter):
            yield Done(clip_id, explained(outcome, why))


def _alignment_scores(settings: Settings) -> StageAsset:
    made_by = {
        "model": "EfficientNet-Lite0 labels, MiniLM sentences",
        "revision": "; ".join(
            known["revision"]
            for known in (
                identity(image_encoder_identity, CLASSIFIER),
                identity(lambda _: sentence_encoder_identity()._asdict(), "minilm"),
            )
        ),
    }
    stage = Stage(
        ALIGNMENT_SCORES,
        unit="clip_id",
        reads={
            "rewritten_captions": ["clip_id", "caption"],
            "clip_selection": ["clip_id", "selected"],
            "frames": ["clip_id", "frames_path", "frames_sha256"],
        },
        units=rewritten_clips,
        version="1",
        effort="call",
        paid=True,
        engines={} if settings.alignment.engine == "off" else {settings.alignment.engine: made_by},
        not_data=frozenset({"frames_path"}),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"pytorch"})
    def alignment_scores(work: list[Work], tools: Tools) -> Iterable[Done]:
        """How well the final caption fits the pictures."""

        def arguments(unit: Work, _: str) -> Row:
            values = {name: unit.values[name] for name in ("clip_id", "frames_path", "caption")}
            return {"files": tools.files, "made_by": made_by, **values}

        return tools.rows_in_workers(from_frames.alignment, work, arguments)

    return alignment_scores


def rewritten_clips(reads: Frames) -> pl.DataFrame:
    rewritten = reads["rewritten_captions"].select("clip_id", "caption", blocked_by("rewritten_captions"))
    return rewritten.join(selected_clips(reads), on="clip_id").join(stored_frames(reads).drop("blocked"), on="clip_id")
