"""`captions`, `rewritten_captions` and `alignment_scores` of the selected clips."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import polars as pl

from curation_assets.captions import from_frames
from curation_assets.captions.alignment import alignment_networks, network_alignment
from curation_assets.captions.captioning import Captioner, caption_clips, caption_prompt
from curation_assets.captions.rewriting import rewrite_captions, rewriter_of, unchanged
from curation_assets.engines import engine_needs, identity
from curation_assets.incremental.stage import Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.language_models import (
    extra_fields,
    language_model,
    named_chat,
    served_by,
    writer_needs,
    writer_settings,
)
from curation_assets.media_types import IS_IMAGE
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.settings import Settings, declared
from curation_assets.tables import ALIGNMENT_SCORES, CAPTIONS, REWRITTEN_CAPTIONS, Row
from curation_assets.tools import Tools
from curation_assets.units import BOXES, Frames, chosen_by, crops_of, selected_clips, stored_frames, with_crops
from curation_assets.writing import explained
from resources.chat import ChatClient
from resources.errors import InputError, Need, TransientError
from resources.image_encoder import image_encoder_identity
from resources.networks import Arrays
from resources.sentence_encoder import open_sentence_encoder, sentence_encoder_identity
from resources.tokens import token_counter, tokenizer_revision

GROUP = "5_captions"
CLASSIFIER = "efficientnet_lite0"
_FRAMES = {"frames": ["clip_id", "frames_path", "frames_sha256"]}
CLASSIFIER_NEED: Need = partial(image_encoder_identity, CLASSIFIER)


def caption_assets(settings: Settings) -> list[StageAsset]:
    return [_captions(settings), _rewritten_captions(settings), _alignment_scores(settings)]


def _captions(settings: Settings) -> StageAsset:
    facts = settings.captions.engine == "facts"
    made_by = identity(image_encoder_identity, CLASSIFIER) if facts else _captioning_settings(settings)
    reads = {**chosen_by(settings), **_FRAMES, **crops_of(settings, *BOXES)}
    if facts:
        reads |= {
            "clips": ["clip_id", "duration_s"],
            "motion_scores": ["clip_id", "engine", "motion_score"],
            "text_scores": ["clip_id", "engine", "texts"],
        }
    image_prompt = caption_prompt(settings.captions.image_prompt, "caption_image")
    stage = Stage(
        CAPTIONS,
        unit="clip_id",
        reads=reads,
        units=clips_with_facts if facts else lambda reads: frames_with_prompt(reads, image_prompt),
        version="1",
        effort="call",
        paid=True,
        settings={"engine": settings.captions.engine, **made_by},
        not_data=frozenset({"frames_path"}),
        added=frozenset({"image_prompt", *BOXES}),
    )

    needs = [CLASSIFIER_NEED] if facts else [*writer_needs(settings.captions, "captions"), _tokenizer(settings)]

    @stage_asset(stage, settings, group=GROUP, kinds={"python" if facts else "openai"}, needs=needs)
    def captions(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """By engine `facts` a sentence of measured facts, marked as such; by `chat` what a vision model says."""
        if facts:
            return tools.rows_in_workers(
                from_frames.facts, work, lambda unit, _: {"files": tools.files, "made_by": made_by, **_own(unit)}
            )
        return _chat_captions(work, tools)

    return captions


def selected_frames(reads: Frames) -> pl.DataFrame:
    return with_crops(stored_frames(reads), reads).join(selected_clips(reads), on="clip_id")


def frames_with_prompt(reads: Frames, image_prompt: str) -> pl.DataFrame:
    """Adds the prompt of images; that of videos is a setting of the stage."""
    return selected_frames(reads).with_columns(image_prompt=pl.when(IS_IMAGE).then(pl.lit(image_prompt)))


def clips_with_facts(reads: Frames) -> pl.DataFrame:
    motion = reads["motion_scores"].filter(engine="dis").select("clip_id", "motion_score")
    texts = reads["text_scores"].filter(engine="rapidocr").select("clip_id", "texts")  # the only engine that reads
    return (
        selected_frames(reads)
        .join(reads["clips"].select("clip_id", "duration_s"), on="clip_id")
        .join(motion, on="clip_id", how="left")
        .join(texts, on="clip_id", how="left")
        .with_columns(pl.col("texts").fill_null([]))
    )


def _own(unit: Work) -> Row:
    names = ("frames_path", "frames_sha256", "duration_s", "motion_score", "texts")
    return {**{name: unit.values[name] for name in names}, **_box(unit)}


def _box(unit: Work) -> Row:
    """What stays of a stored picture where it is cropped."""
    return {"box": unit.values.get("frames_box")}


def _captioning_settings(settings: Settings) -> dict[str, Any]:
    section = settings.captions
    named = named_chat(section, "captions")
    own = {name: value for name, value in declared(section).items() if name not in ("vllm", "image_prompt")}
    asked = {"prompt": caption_prompt(section.prompt), "chat": declared(named) | extra_fields(named)}
    return own | served_by(section) | asked | _counted_by(settings, section.max_caption_tokens)


def _counted_by(settings: Settings, max_caption_tokens: int | None) -> dict[str, Any]:
    """What counts a caption's tokens, where they have a limit and it isn't the estimate."""
    folder = settings.training_set.trainer.tokenizer
    return {"tokenizer": identity(tokenizer_revision, folder)} if folder and max_caption_tokens else {}


def _tokenizer(settings: Settings) -> Need:
    return partial(token_counter, settings.training_set.trainer.tokenizer)


def _chat_captions(work: Sequence[Work], tools: Tools) -> Iterator[Done]:
    section = tools.settings.captions
    sent = {"images": section.frame_count} if section.send == "frames" else {"images": 1, "videos": 1}
    with language_model(section, "captions", tools.say, **sent) as (client, revision):
        client.check()
        yield from _captions_of(work, tools, client, revision)


def _captions_of(work: Sequence[Work], tools: Tools, client: ChatClient, revision: str) -> Iterator[Done]:
    section = tools.settings.captions
    captioner = Captioner(
        model=client.model,
        revision=revision,
        prompt=caption_prompt(section.prompt),
        frame_count=section.frame_count,
        temperature=section.chat.temperature,
        max_tokens=section.chat.max_tokens,
        send=section.send,
        max_caption_tokens=section.max_caption_tokens,
        max_attempts=section.max_attempts,
        engine=section.engine,
    )
    count_tokens = token_counter(tools.settings.training_set.trainer.tokenizer)
    unreadable: list[Done] = []

    def units() -> Iterator[Row]:
        for unit in work:
            frames_sha256 = unit.values["frames_sha256"]
            try:
                data = from_frames.read_frames(tools.files, unit.values["frames_path"], frames_sha256)
                jpegs = from_frames.sent_jpegs(data, **_box(unit))
            except (InputError, TransientError) as failure:
                unreadable.append(Done(unit.unit, failure))
            else:
                known = {name: unit.values[name] for name in ("clip_id", "frames_sha256", "image_prompt")}
                yield {**known, "jpegs": jpegs}

    for clip_id, outcome in caption_clips(units(), client, captioner, count_tokens):
        yield Done(clip_id, explained(outcome, "the server's answer was empty; change captions.prompt or the model"))
    yield from unreadable


def _rewritten_captions(settings: Settings) -> StageAsset:
    section = settings.rewriting
    stage = Stage(
        REWRITTEN_CAPTIONS,
        unit="clip_id",
        reads={"captions": ["clip_id", "caption"], **chosen_by(settings)},
        units=captions_to_rewrite,
        version="1",
        effort="call" if section.engine != "off" else "arithmetic",
        paid=True,
        settings=_rewriting_settings(settings),
    )

    needs: list[Need] = []
    if section.engine != "off":
        needs = [*writer_needs(section, "rewriting"), _tokenizer(settings), sentence_encoder_identity]

    @stage_asset(stage, settings, group=GROUP, kinds={"openai"}, needs=needs)
    def rewritten_captions(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """A language model's version of the caption; answers that drift from it are refused and asked again."""
        if section.engine == "off":
            return tools.rows_here(lambda clip: unchanged(clip["clip_id"], clip["caption"]), work)
        return _rewrite(work, tools)

    return rewritten_captions


def captions_to_rewrite(reads: Frames) -> pl.DataFrame:
    captions = reads["captions"].select("clip_id", "caption", blocked_by("captions"))
    return captions.join(selected_clips(reads), on="clip_id")


def _rewriting_settings(settings: Settings) -> dict[str, Any]:
    section = settings.rewriting
    if section.engine == "off":
        return {"engine": "off"}
    named = named_chat(section, "rewriting")
    rewriter = rewriter_of(section, named.model or "", named.revision)
    encoder = identity(lambda _: sentence_encoder_identity()._asdict(), "minilm")
    counted_by = _counted_by(settings, section.max_caption_tokens)
    return {**writer_settings(rewriter, named), **served_by(section), "encoder": encoder, **counted_by}


def _rewrite(work: Sequence[Work], tools: Tools) -> Iterator[Done]:
    section = tools.settings.rewriting
    count_tokens = token_counter(tools.settings.training_set.trainer.tokenizer)
    with ThreadPoolExecutor(1) as beside:
        opening = beside.submit(copy_context().run, open_sentence_encoder)  # while the server starts
        with language_model(section, "rewriting", tools.say) as (client, revision):
            client.check()
            rewriter = rewriter_of(section, client.model, revision)
            units = ({"clip_id": unit.unit, "caption": unit.values["caption"]} for unit in work)
            why = f"no answer of {section.max_attempts} could stand for the caption; `last_answer` holds the last one"
            for clip_id, outcome in rewrite_captions(units, client, opening.result(), rewriter, count_tokens):
                yield Done(clip_id, explained(outcome, why))


def _alignment_scores(settings: Settings) -> StageAsset:
    networks = alignment_networks(settings.alignment)
    by_labels = {
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
            **chosen_by(settings),
            **_FRAMES,
            **crops_of(settings, *BOXES),
        },
        units=rewritten_clips,
        version="1",
        effort="call",
        paid=True,
        engines={
            engine: identity(lambda name: networks[name].identity(), engine) if engine in networks else by_labels
            for engine in settings.alignment.engines
        },
        not_data=frozenset({"frames_path"}),
        added=frozenset(BOXES),
        copied=("crop_box",),
    )

    needs = engine_needs(stage.engines, networks, [CLASSIFIER_NEED, sentence_encoder_identity])

    @stage_asset(stage, settings, group=GROUP, kinds={"pytorch"}, needs=needs)
    def alignment_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """How well the final caption fits the pictures."""

        def picture_and_text(unit: Work) -> Row:
            values = {name: unit.values[name] for name in ("frames_path", "caption")}
            return {"files": tools.files, **values, **_box(unit)}

        def arguments(unit: Work, _: str) -> Row:
            return {"clip_id": unit.unit, "made_by": by_labels, **picture_and_text(unit)}

        def row(unit: Work, engine: str, features: Arrays) -> Row:
            made_by = stage.engines[engine]
            return network_alignment(unit.unit, unit.values["caption"], engine, networks[engine], features, made_by)

        yield from tools.rows_in_batches(from_frames.network_input, work, networks, picture_and_text, row)
        yield from tools.rows_in_workers(from_frames.alignment, work, arguments, without=networks)

    return alignment_scores


def rewritten_clips(reads: Frames) -> pl.DataFrame:
    rewritten = reads["rewritten_captions"].select("clip_id", "caption", blocked_by("rewritten_captions"))
    clips = rewritten.join(selected_clips(reads), on="clip_id").join(stored_frames(reads).drop("blocked"), on="clip_id")
    return with_crops(clips, reads)
