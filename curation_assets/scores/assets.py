"""The score tables made from stored frames; no video is opened again."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from curation_assets.engines import identity
from curation_assets.refresh import Done, Row, Stage, Work
from curation_assets.scores import from_frames
from curation_assets.scores.technical import technical_identity
from curation_assets.settings import Settings, result_settings
from curation_assets.stage_asset import StageAsset, stage_asset
from curation_assets.tables import AESTHETIC_SCORES, SEMANTIC_SCORES, TECHNICAL_SCORES, TEXT_SCORES, Table
from curation_assets.tools import Tools
from curation_assets.units import stored_frames
from resources.image_encoder import image_encoder_identity
from resources.text_reader import text_reader_identity

GROUP = "scores"


def score_assets(settings: Settings) -> list[StageAsset]:
    semantic = score_stage(SEMANTIC_SCORES, settings.semantic, image_encoder_identity)
    aesthetic = score_stage(AESTHETIC_SCORES, settings.aesthetic, image_encoder_identity)
    text = score_stage(TEXT_SCORES, settings.text, text_reader_identity)
    technical = score_stage(TECHNICAL_SCORES, settings.technical, technical_identity)

    @stage_asset(semantic, settings, group=GROUP, kinds={"pytorch"})
    def semantic_scores(work: list[Work], tools: Tools) -> Iterable[Done]:
        """How alike a clip's neighbouring frames are; a hidden cut shows as a low minimum."""
        return tools.rows_in_workers(from_frames.semantic, work, frames_task(tools, tools.settings.semantic))

    @stage_asset(aesthetic, settings, group=GROUP, kinds={"pytorch"})
    def aesthetic_scores(work: list[Work], tools: Tools) -> Iterable[Done]:
        """Empty while no aesthetic engine is on; then there is no such filter either."""
        return []

    @stage_asset(text, settings, group=GROUP, kinds={"onnx"})
    def text_scores(work: list[Work], tools: Tools) -> Iterable[Done]:
        """How much of the picture recognised text covers, and what it says."""
        return tools.rows_in_workers(from_frames.text, work, frames_task(tools, tools.settings.text))

    @stage_asset(technical, settings, group=GROUP, kinds={"opencv"})
    def technical_scores(work: list[Work], tools: Tools) -> Iterable[Done]:
        """Blur, exposure, borders, frozen pictures and missing colour, measured."""
        return tools.rows_in_workers(from_frames.technical, work, frames_task(tools, tools.settings.technical))

    return [semantic_scores, aesthetic_scores, text_scores, technical_scores]


def score_stage(table: Table, section: BaseModel, of: Callable[[str], Mapping[str, str]]) -> Stage:
    """A table with a row for each clip and engine, made from the clip's stored frames."""
    values: dict[str, Any] = result_settings(section)
    engines = values.pop("engines")
    return Stage(
        table,
        unit="clip_id",
        reads={"frames": ["clip_id", "frames_path", "frames_sha256"]},
        units=stored_frames,
        version="1",
        effort="call",
        settings=values,
        engines={engine: identity(of, engine) for engine in engines},
        not_data=frozenset({"frames_path"}),
    )


def frames_task(tools: Tools, section: BaseModel) -> Callable[[Work, str], Row]:
    def arguments(unit: Work, engine: str) -> Row:
        path = unit.values["frames_path"]
        return {"files": tools.files, "frames_path": path, "settings": section, "engine": engine}

    return arguments
