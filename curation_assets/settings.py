"""Every parameter of every stage as one validated tree, with units, bounds and defaults.

`CURATION_SETTINGS` names the YAML file (default `deployments/local/curation.yaml`); the file holds only what
differs from the defaults below. Fields made with `execution()` change how fast a result comes, never the
result: they enter neither fingerprints nor data versions.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from resources.object_store import is_url, refusal

DEFAULT_SETTINGS_FILE = "deployments/local/curation.yaml"
DEFAULT_HOME = ".reelhouse"
_UNREADABLE_BY_POLARS = re.compile(r"[^A-Za-z0-9/._~!$&'()*+,;:@-]")  # delta-rs hands it such paths URL-encoded


class SettingsError(ValueError):
    """A settings file that can't be used; the message names file, key, value and what is allowed."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def execution(default: Any, **constraints: Any) -> Any:
    """A field that changes speed or place of work but not the result."""
    return Field(default, json_schema_extra={"execution": True}, **constraints)


Share = Annotated[float, Field(ge=0, le=1)]
NAME = r"[a-z0-9][a-z0-9_-]{0,47}"  # part of paths, of a predicate and of partition keys
SourceName = Annotated[str, Field(pattern=f"^{NAME}$")]


class Source(Section):
    """A folder of videos, or a listing of them; each a path or an s3:// URL."""

    path: str = Field(description="folder, or a .csv, .jsonl or .parquet listing")
    recursive: bool = True
    path_column: str = Field("video_path", description="listing only: the column that holds the path")
    folder: str | None = Field(None, description="listing only: what relative paths start from; default: its folder")


class Shards(Section):
    videos_per_shard: int = Field(100, ge=1, le=100_000, description="applies to videos not registered yet")
    max_lost_share: Share = Field(0.1, description="a scan that lost a larger share of a source's files is an error")
    settle_s: float = execution(60.0, ge=0, description="the sensor leaves a file alone that was written to since")


class RawVideos(Section):
    max_pixels: int = Field(8192 * 8192, ge=1, description="width x height of a frame; larger sources are refused")


class Cuts(Section):
    """Shot boundaries. Content 27 and 15 frames are EasyAnimate's values; the others are PySceneDetect's defaults."""

    detector: Literal["content", "adaptive", "threshold", "transnetv2", "none"] = "content"
    min_scene_frames: int = Field(15, ge=1)
    content_threshold: float = Field(27.0, gt=0, le=255, description="mean HSV difference of neighbours")
    adaptive_threshold: float = Field(3.0, gt=0, description="ratio of a frame's difference to its surroundings")
    adaptive_min_content: float = Field(15.0, ge=0, le=255)
    adaptive_window_frames: int = Field(2, ge=1)
    fade_threshold: float = Field(12.0, ge=0, le=255, description="mean pixel value below which a frame is black")
    transnetv2_threshold: Share = 0.5


class Clips(Section):
    """How scenes become clips; values of EasyAnimate's stage 1."""

    min_source_area_px: int = Field(512 * 512, ge=0, description="display width x height of the source")
    min_duration_s: float = Field(3.0, gt=0)
    max_duration_s: float = Field(10.0, gt=0)
    end_trim_s: float = Field(0.5, ge=0, description="cut off the end of a scene that ends at a cut")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_duration_s > self.max_duration_s:
            raise ValueError(
                f"min_duration_s {self.min_duration_s} is above max_duration_s {self.max_duration_s}; "
                "the minimum must not exceed the maximum"
            )
        return self


class Frames(Section):
    """The nine stored frames of a clip: floor(i*N/8) for i = 0..7, and N-1."""

    longest_side_px: int = Field(1024, ge=64, le=8192)
    jpeg_quality: int = Field(92, ge=1, le=100)


class DisMotion(Section):
    longest_side_px: int = Field(320, ge=64, le=4096)
    pairs_per_s: float = Field(2.0, gt=0, le=60, description="pairs of neighbouring frames looked at")


class FarnebackMotion(Section):
    samples_per_s: float = Field(2.0, gt=0, le=60, description="frames compared, at native size (EasyAnimate: 2)")


class Motion(Section):
    engines: tuple[Literal["dis", "farneback"], ...] = ("dis",)
    dis: DisMotion = DisMotion()
    farneback: FarnebackMotion = FarnebackMotion()


class Semantic(Section):
    engines: tuple[Literal["efficientnet_lite0"], ...] = ("efficientnet_lite0",)


class Aesthetic(Section):
    engines: tuple[()] = Field((), description="no packaged engine scores aesthetics; off")


FrameChoice = Literal["middle", "all"] | tuple[Annotated[int, Field(ge=0, le=8)], ...]


class Text(Section):
    """The confidence is from benchmarks/calibrate.py."""

    engines: tuple[Literal["rapidocr"], ...] = ("rapidocr",)
    frames: FrameChoice = Field("middle", description="middle, all, or positions 0..8 among the stored frames")
    min_confidence: Share = Field(0.79, description="a box counts when its text is read at least this surely")
    min_characters: int = Field(2, ge=1, description="a box of fewer doesn't count: round things are read as O")
    longest_side_px: int = Field(640, ge=64, le=4096)


class Technical(Section):
    engines: tuple[Literal["opencv"], ...] = ("opencv",)


class Bound(Section):
    """Inclusive bounds: a score equal to a bound passes. A missing score never passes."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; no score could pass")
        return self


class Bounds(Section):
    """Bounds by name. A file that gives one side of a bound leaves the other at its default; null removes a side."""

    @model_validator(mode="before")
    @classmethod
    def _keep_other_side(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        merged = dict(given)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Bound) and isinstance(given.get(name), dict):
                merged[name] = {**field.default.model_dump(), **given[name]}
        return merged


class MotionBounds(Bounds):
    """`dis` from benchmarks/calibrate.py; `farneback` is EasyAnimate's."""

    dis: Bound = Bound(min=0.95, max=74.0)
    farneback: Bound = Bound(min=2.0, max=20.0)


class SemanticBounds(Bounds):
    """From benchmarks/calibrate.py."""

    efficientnet_lite0: Bound = Bound(min=0.47)


class TextBounds(Bounds):
    """EasyAnimate's; benchmarks/calibrate.py finds 0.017."""

    rapidocr: Bound = Bound(max=0.02)


class TechnicalBounds(Bounds):
    """One bound a measure, from benchmarks/calibrate.py; each measure's range is in `tables.py`."""

    sharpness: Bound = Bound(min=35.0)
    luma: Bound = Bound(min=23.0, max=180.0)
    black_share: Bound = Bound(max=0.25)
    white_share: Bound = Bound(max=0.35)
    border_share: Bound = Bound(max=0.071)
    frozen_share: Bound = Bound(max=0.38)
    colour: Bound = Bound(min=0.36)


class TechnicalEngineBounds(Section):
    opencv: TechnicalBounds = TechnicalBounds()


class Selection(Section):
    """The filters of `clip_selection`: slot -> engine -> bound. Every engine that is on must pass."""

    motion: MotionBounds = MotionBounds()
    semantic: SemanticBounds = SemanticBounds()
    text: TextBounds = TextBounds()
    technical: TechnicalEngineBounds = TechnicalEngineBounds()


class Chat(Section):
    """An OpenAI-compatible server; the server is the engine."""

    base_url: str | None = execution(None, description="e.g. http://127.0.0.1:8000/v1")
    api_key_env: str | None = execution(None, description="name of the environment variable that holds the key")
    model: str | None = Field(None, description="the model's name at the server")
    revision: str = Field("", description="free text stored with each row; change it to recompute")
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(512, ge=1)
    concurrency: int = execution(8, ge=1)
    request_timeout_s: float = execution(120.0, gt=0)


CAPTION_PROMPT = "Describe this video in detail. Don't repeat."


class Captions(Section):
    engine: Literal["facts", "chat"] = "facts"
    prompt: str = CAPTION_PROMPT
    frame_count: int = Field(8, ge=1, le=8, description="uniform frames sent to a chat engine")
    chat: Chat = Chat()


class Rewriting(Section):
    engine: Literal["embedded", "chat", "off"] = "embedded"
    max_attempts: int = Field(10, ge=1)
    min_similarity: float = Field(0.5, ge=-1, le=1, description="MiniLM cosine of answer and caption; below: drift")
    max_new_words: Share | None = Field(
        None, description="share of an answer's content words that the caption lacks; default: embedded 0, chat 0.5"
    )
    chat: Chat = Chat(temperature=0.7, max_tokens=256)


class Beautifying(Section):
    """Short prompts to detailed ones; attempts and the limit of 200 words are EasyAnimate's values."""

    engine: Literal["embedded", "chat", "off"] = "embedded"
    template: str | None = Field(
        None, description="what the model is told, as text or as the path of a .txt file; default: the packaged one"
    )
    max_words: int = Field(200, ge=1, description="longer answers are asked for again")
    max_attempts: int = Field(10, ge=1)
    chat: Chat = Chat(temperature=0.7)

    @field_validator("template")
    @classmethod
    def _read_file(cls, template: str | None) -> str | None:
        if template is None or "\n" in template or not template.endswith(".txt"):
            return template
        try:
            return Path(template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as failure:
            raise ValueError(f"the template {template} can't be read: {failure}; name a text file in UTF-8") from None


class Alignment(Section):
    engine: Literal["label_similarity", "off"] = "label_similarity"


class AlignmentBounds(Bounds):
    """0.05 let 87 % of captions written by hand pass with their own shot and 35 % with another, of 15 shots."""

    label_similarity: Bound = Bound(min=0.05)


class SampleSelection(Section):
    """The filters of `sample_selection`, next to the status of caption and rewrite."""

    alignment: AlignmentBounds = AlignmentBounds()


class ClipFiles(Section):
    """Encoding of clips in the manifest; x264 veryfast CRF 22 + AAC are EasyAnimate's choices."""

    video_codec: Literal["libx264", "libx265"] = "libx264"
    preset: str = Field("veryfast", pattern=r"^[a-z]+$")
    crf: int = Field(22, ge=0, le=51)
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    keyframe_interval: int = Field(250, ge=1, description="largest distance of keyframes, frames")
    encoder_threads: int = Field(
        1, ge=1, description="fixed, since x264's output depends on it; workers fill the cores"
    )
    audio: Literal["aac", "none"] = "aac"
    audio_bitrate_kbps: int = Field(128, ge=8, le=512)
    min_psnr_db: float = Field(18.0, ge=0, description="first and last frame against the source; below: failed")


class Trainer(Section):
    """What EasyAnimate's trainer needs of a sample: frames >= stride * frame_count / 0.8, caption tokens."""

    frame_count: int = Field(49, ge=1)
    stride: int = Field(3, ge=1)
    max_caption_tokens: int = Field(256, ge=1)


class TrainingSet(Section):
    paths: Literal["relative", "absolute"] = Field("relative", description="file_path in exports; relative to the home")
    trainer: Trainer = Trainer()


class Execution(Section):
    """How much of the machine to use. None of this changes a result."""

    workers: int = execution(0, ge=0, description="worker processes; 0: one a core")
    batch_units: int = execution(32, ge=1, description="units between two writes to staging")
    batch_seconds: float = execution(30.0, gt=0, description="or this long, whichever comes first")
    item_timeout_s: float = execution(1800.0, gt=0, description="one item in a worker process")
    item_memory_bytes: int = execution(8 * 2**30, ge=2**28, description="address space of a worker process")
    max_transient_share: Share = execution(0.5, description="a larger share of transient failures blocks a shard")


class Maintenance(Section):
    """How long `reelhouse maintain` keeps what nothing names any more. None of this changes a result."""

    unreferenced_grace_hours: float = execution(
        24.0, ge=0, description="longer than a refresh of a shard takes; 0: only while nothing else runs"
    )
    vanished_grace_days: float = execution(30.0, ge=0, description="rows of videos whose files are all missing")
    version_retention_days: float = execution(
        7.0, ge=0, le=7, description="table versions that no release pins; delta-rs knows what it removed for a week"
    )


class Lineage(Section):
    """OpenLineage events; OPENLINEAGE_URL or OPENLINEAGE_CONFIG say where to. None of this changes a result."""

    emit: bool = execution(False, description="an event each time a shard of a table was refreshed, or failed to be")
    namespace: str = execution("reelhouse", min_length=1, description="of the jobs")


class Settings(Section):
    sources: dict[SourceName, Source] = {}
    shards: Shards = Shards()
    raw_videos: RawVideos = RawVideos()
    cuts: Cuts = Cuts()
    clips: Clips = Clips()
    frames: Frames = Frames()
    motion: Motion = Motion()
    semantic: Semantic = Semantic()
    aesthetic: Aesthetic = Aesthetic()
    text: Text = Text()
    technical: Technical = Technical()
    selection: Selection = Selection()
    captions: Captions = Captions()
    rewriting: Rewriting = Rewriting()
    alignment: Alignment = Alignment()
    beautifying: Beautifying = Beautifying()
    sample_selection: SampleSelection = SampleSelection()
    clip_files: ClipFiles = ClipFiles()
    training_set: TrainingSet = TrainingSet()
    execution: Execution = Execution()
    lineage: Lineage = Lineage()
    maintenance: Maintenance = Maintenance()

    @model_validator(mode="after")
    def _bounds_have_engines(self) -> Self:
        for slot in sorted(self.selection.model_fields_set):
            section = getattr(self.selection, slot)
            for engine in sorted(section.model_fields_set):
                engines = getattr(self, slot).engines
                if engine not in engines:
                    raise ValueError(
                        f"selection.{slot}.{engine} is a threshold on an engine that is off "
                        f"({slot}.engines is {list(engines)}); turn the engine on or remove the threshold"
                    )
        for engine in sorted(self.sample_selection.alignment.model_fields_set):
            if engine != self.alignment.engine:
                raise ValueError(
                    f"sample_selection.alignment.{engine} is a threshold on an engine that is off "
                    f"(alignment.engine is {self.alignment.engine!r}); turn the engine on or remove the threshold"
                )
        return self

    @model_validator(mode="after")
    def _chat_engines_are_complete(self) -> Self:
        for slot in ("captions", "rewriting", "beautifying"):
            section = getattr(self, slot)
            if section.engine == "chat" and not (section.chat.base_url and section.chat.model):
                raise ValueError(f"{slot}.engine is 'chat', which needs {slot}.chat.base_url and {slot}.chat.model")
        return self


def result_settings(section: BaseModel) -> dict[str, Any]:
    """The values of a section that can change a result: every field but the `execution()` ones."""
    kept: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("execution"):
            continue
        value = getattr(section, name)
        kept[name] = result_settings(value) if isinstance(value, BaseModel) else value
    return kept


def settings_hash(settings: Settings) -> str:
    """12 hex digits naming everything in the settings that can change a result; sources are not among it."""
    values = {k: v for k, v in result_settings(settings).items() if k not in ("sources", "shards", "maintenance")}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=list).encode()).hexdigest()[:12]


def parse_settings(document: object, file: str) -> Settings:
    """Validate a parsed YAML document; `file` is named in errors.

    Raises SettingsError listing every wrong key with its value and what is allowed.
    """
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise SettingsError(f"{file}: expected a mapping of sections, found {type(document).__name__}")
    try:
        return Settings.model_validate(document)
    except ValidationError as failure:
        problems = [_problem(error) for error in failure.errors()]
        raise SettingsError(f"{file}: " + "; ".join(problems)) from None


def _problem(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "settings"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key (value {error['input']!r}); `reelhouse settings` lists the keys there are"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return message if key == "settings" else f"{key}: {message}"
    return f"{key}: {message}, found {error['input']!r}"


def settings_file(file: str | None = None) -> Path | None:
    """The file that is read: `file`, else that of `CURATION_SETTINGS`, else the local deployment's, else none.

    Raises SettingsError when a named file is missing.
    """
    named = file or os.environ.get("CURATION_SETTINGS")
    path = Path(named or DEFAULT_SETTINGS_FILE)
    if path.exists():
        return path
    if named:
        raise SettingsError(f"{path}: settings file not found; check --settings or CURATION_SETTINGS")
    return None


def load_settings(file: str | None = None) -> Settings:
    """The settings of `settings_file`, the defaults where there is none.

    Raises SettingsError when a named file is missing, is no YAML, or doesn't validate.
    """
    path = settings_file(file)
    if path is None:
        return Settings()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise SettingsError(f"{path}: not readable as YAML: {failure}") from None
    except OSError as failure:
        raise SettingsError(f"{path}: {failure.strerror}; name a readable YAML file") from None
    return parse_settings(document, str(path))


def home_path() -> str:
    """Where tables, frames and clips lie: `CURATION_HOME`, a path or an s3:// URL.

    Raises SettingsError for a path below which polars doesn't find the files of a Delta table, and for other URLs.
    """
    home = os.environ.get("CURATION_HOME") or DEFAULT_HOME
    if is_url(home) and (refused := refusal(home)):
        raise SettingsError(f"CURATION_HOME: {refused}")
    place = home if is_url(home) else str(Path(home).absolute())
    if odd := set(_UNREADABLE_BY_POLARS.findall(place)):
        raise SettingsError(
            f"CURATION_HOME: tables below {place} couldn't be read, because of {' '.join(sorted(odd))!r} in the path; "
            "choose a name of ASCII letters, digits and ._-"
        )
    return home
