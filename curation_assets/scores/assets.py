"""The score tables, made from stored frames; a video is opened again only for a sampling that they don't cover."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from pydantic import BaseModel

from curation_assets.engines import engine_needs, identity
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Work
from curation_assets.media_types import IS_IMAGE
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.scores import from_frames, screening
from curation_assets.scores.aesthetic import aesthetic_networks, aesthetic_row
from curation_assets.scores.encoded import ROW_OF, encoded
from curation_assets.scores.encoders import encoder_identity, encoder_networks
from curation_assets.scores.sampling import ALL_STORED, Chosen, ClipFrames, DecodedFrames, StoredFrames, chosen_by
from curation_assets.scores.technical import technical_identity
from curation_assets.scores.text import chosen_frames, detected_text_row, text_networks
from curation_assets.scores.watermark import watermark_identity
from curation_assets.settings import Network, Sampling, Settings, declared
from curation_assets.tables import (
    AESTHETIC_SCORES,
    CLIP_EMBEDDINGS,
    SAFETY_SCORES,
    SEMANTIC_SCORES,
    TECHNICAL_SCORES,
    TEXT_SCORES,
    WATERMARK_SCORES,
    Row,
    Table,
)
from curation_assets.tools import Tools, done
from curation_assets.units import BOXES, DECODING, clips_with_source, crops_of, stored_frames, with_crops
from resources.image_encoder import image_encoder_identity
from resources.image_towers import ImageTower, unit_vectors
from resources.networks import Arrays
from resources.text_reader import text_reader_identity
from resources.unsafe_content import unsafe_content_identity

GROUP = "3_scores"
ENCODER, READER = "efficientnet_lite0", "rapidocr"  # the embedded engines


def score_assets(settings: Settings) -> list[StageAsset]:
    predictors = aesthetic_networks(settings.aesthetic)
    detectors = text_networks(settings.text)

    def reader_identity(engine: str) -> dict[str, str]:
        if engine in detectors:
            return {**detectors[engine].identity(), "area": settings.text.craft.area}
        return text_reader_identity(engine)

    of_aesthetic = chosen_by(settings.aesthetic.sampling)
    of_text = chosen_frames(settings.text)
    aesthetic = score_stage(
        AESTHETIC_SCORES, settings, "aesthetic", lambda engine: predictors[engine].identity(), of_aesthetic
    )
    text = score_stage(TEXT_SCORES, settings, "text", reader_identity, of_text)
    technical = score_stage(TECHNICAL_SCORES, settings, "technical", technical_identity)

    @stage_asset(aesthetic, settings, group=GROUP, kinds={"pytorch"}, needs=engine_needs(aesthetic.engines, predictors))
    def aesthetic_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """How beautiful four frames are. Empty while no aesthetic engine is on; then there is no such filter either."""
        frames = frames_of(tools, of_aesthetic)

        def row(unit: Work, engine: str, features: Arrays) -> Row:
            figures, indices = features
            return aesthetic_row(figures, engine, aesthetic.engines[engine], frames(unit).in_words(indices))

        return tools.rows_in_batches(from_frames.network_input, work, predictors, only(frames), row)

    needs = engine_needs(text.engines, detectors, [partial(reader_identity, READER)])

    @stage_asset(text, settings, group=GROUP, kinds={"onnx"}, needs=needs)
    def text_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """How much of the picture text covers, and what it says if the engine reads it."""
        frames = frames_of(tools, of_text)
        section = tools.settings.text

        def row(unit: Work, engine: str, features: Arrays) -> Row:
            *found, indices = features
            made_by = text.engines[engine]
            return detected_text_row(tuple(found), section, engine, made_by, frames(unit).in_words(indices))

        yield from tools.rows_in_batches(from_frames.network_input, work, detectors, only(frames), row)
        yield from tools.rows_in_workers(from_frames.text, work, with_settings(frames, section), without=detectors)

    @stage_asset(technical, settings, group=GROUP, kinds={"opencv"})
    def technical_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Blur, exposure, borders, frozen pictures and missing colour, measured."""
        frames = frames_of(tools, ALL_STORED)
        return tools.rows_in_workers(from_frames.technical, work, with_settings(frames, tools.settings.technical))

    return [encoder_asset(settings), aesthetic_scores, text_scores, technical_scores]


def screening_assets(settings: Settings) -> list[StageAsset]:
    """`safety_scores` and `watermark_scores`; each is none while no engine of it is on."""
    safety = score_stage(SAFETY_SCORES, settings, "safety", unsafe_content_identity)
    watermark = of_videos(score_stage(WATERMARK_SCORES, settings, "watermark", watermark_identity))
    classifiers = [partial(unsafe_content_identity, engine) for engine in safety.engines]

    @stage_asset(safety, settings, group=GROUP, kinds={"onnx"}, needs=classifiers)
    def safety_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """How likely no frame of a clip shows pornography."""
        return tools.rows_in_workers(screening.safety, work, with_engine(frames_of(tools, ALL_STORED)))

    @stage_asset(watermark, settings, group=GROUP, kinds={"opencv"})
    def watermark_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """How much of a video stands still while all around it changes: logos, captions, watermarks."""
        return tools.rows_in_workers(screening.watermark, work, with_engine(frames_of(tools, ALL_STORED)))

    return [asset for asset in (safety_scores, watermark_scores) if asset.stages[0].engines]


@dataclass(frozen=True)
class Pass:
    """Encoders that go over the same frames of a clip; of each table the engines that it takes from them."""

    chosen: Chosen
    networks: Mapping[str, ImageTower]
    engines: Mapping[str, Collection[str]]


def encoder_asset(settings: Settings) -> StageAsset:
    """`semantic_scores` and `clip_embeddings`."""
    encoders = encoder_networks("semantic", settings.semantic)
    embedders = encoder_networks("embeddings", settings.embeddings)
    of_semantic = chosen_by(settings.semantic.sampling)
    semantic = of_videos(score_stage(SEMANTIC_SCORES, settings, "semantic", encoder_identity(encoders), of_semantic))
    embeddings = score_stage(CLIP_EMBEDDINGS, settings, "embeddings", encoder_identity(embedders))
    apart = {
        engine
        for engine, made_by in embeddings.engines.items()
        if of_semantic != ALL_STORED or semantic.engines.get(engine, made_by) != made_by
    }
    together = {SEMANTIC_SCORES.name: {*semantic.engines}, CLIP_EMBEDDINGS.name: {*embeddings.engines} - apart}
    passes = [
        Pass(of_semantic, {**embedders, **encoders}, together),
        Pass(ALL_STORED, embedders, {CLIP_EMBEDDINGS.name: apart}),
    ]
    made_by = {stage.table.name: stage.engines for stage in (semantic, embeddings)}
    needs = [
        *engine_needs(semantic.engines, encoders, [partial(image_encoder_identity, ENCODER)]),
        *engine_needs(embeddings.engines, embedders, [partial(image_encoder_identity, ENCODER)]),
    ]

    @stage_asset([semantic, embeddings], settings, group=GROUP, kinds={"pytorch"}, needs=needs)
    def semantic_scores(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """An encoder that both tables have sees each stored frame once; a hidden cut shows as a low minimum."""
        for each in passes:
            yield from encoded_rows(each, made_by, work, tools)

    return semantic_scores


def encoded_rows(
    each: Pass, made_by: Mapping[str, Mapping[str, Mapping[str, str]]], work: Sequence[Work], tools: Tools
) -> Iterator[Done]:
    """What becomes of the units in the tables of one pass; `made_by`: table -> engine -> model and revision."""
    frames = frames_of(tools, each.chosen)

    def row(table: str, unit: Work, engine: str, features: Arrays) -> Row:
        vectors, indices = features
        if engine in each.networks:
            vectors = unit_vectors(vectors)
        return ROW_OF[table](vectors, engine, made_by[table][engine], frames(unit).in_words(indices))

    units = [unit.only(each.engines) for unit in work]
    task = with_engine(frames)
    for unit, engine, features in chain(
        tools.features_in_batches(from_frames.network_input, units, each.networks, only(frames)),
        tools.features_in_workers(encoded, units, task, without=each.networks),
    ):
        for table in [table for table, engines in unit.wanted.items() if engine in engines]:
            yield done(unit, engine, features, partial(row, table), table)


def score_stage(
    table: Table, settings: Settings, slot: str, of: Callable[[str], Mapping[str, str]], chosen: Chosen = ALL_STORED
) -> Stage:
    """A table with a row for each clip and engine, made from stored frames, or else from the clip decoded again; of a
    cropped clip from what stays of its picture.

    Sections of networks are left out: what they change is in their identities, if they are on.
    """
    section: BaseModel = getattr(settings, slot)
    values: dict[str, Any] = declared(section)
    engines = values.pop("engines")
    for name in [name for name in values if isinstance(getattr(section, name), Network)]:
        del values[name]
    decoding = isinstance(chosen, Sampling)
    clips = clips_with_source if decoding else stored_frames
    read = DECODING if decoding else {"frames": ["clip_id", "frames_path", "frames_sha256"]}
    boxes = ("crop_box",) if decoding else BOXES
    return Stage(
        table,
        unit="clip_id",
        reads={**read, **crops_of(settings, *boxes)},
        units=lambda reads: with_crops(clips(reads), reads),
        version="1",
        effort="decode" if decoding else "call",
        settings=values,
        engines={engine: identity(of, engine) for engine in engines},
        not_data=frozenset({"source_uri" if decoding else "frames_path"}),
        added=frozenset(BOXES),
        copied=("crop_box",),
    )


def of_videos(stage: Stage) -> Stage:
    """The same without images, whose one picture has none to be compared with."""
    return replace(stage, units=lambda reads: stage.units(reads).filter(~IS_IMAGE))


FramesOf = Callable[[Work], ClipFrames]


def frames_of(tools: Tools, chosen: Chosen) -> FramesOf:
    def frames(unit: Work) -> ClipFrames:
        if isinstance(chosen, Sampling):
            return DecodedFrames(unit.values, chosen)
        return StoredFrames(tools.files, unit.unit, unit.values["frames_path"], chosen, unit.values.get("frames_box"))

    return frames


def only(frames: FramesOf) -> Callable[[Work], Row]:
    return lambda unit: {"frames": frames(unit)}


def with_engine(frames: FramesOf) -> Callable[[Work, str], Row]:
    return lambda unit, engine: {"frames": frames(unit), "engine": engine}


def with_settings(frames: FramesOf, section: BaseModel) -> Callable[[Work, str], Row]:
    return lambda unit, engine: {"frames": frames(unit), "settings": section, "engine": engine}
