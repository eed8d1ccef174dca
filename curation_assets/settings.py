"""Every parameter of every stage as one validated tree, with units, bounds and defaults.

`CURATION_SETTINGS` names the YAML file (default `deployments/local/curation.yaml`); the file holds only what
differs from the defaults below. Fields made with `execution()` change how fast a result comes, never the
result: they enter neither fingerprints nor data versions.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from curation_assets.media_types import MediaType
from resources.checkpoints import is_hub_id
from resources.object_store import is_url, refusal
from resources.sampling import COUNTED, OF_ONE_FRAME, Method, require_sampling
from resources.text import without_login

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


def added(default: Any, **constraints: Any) -> Any:
    """A field younger than rows in use: at its default `declared` leaves it out, so that their fingerprints stand."""
    return Field(default, json_schema_extra={"added": True}, **constraints)


@dataclass(frozen=True)
class Unit:
    """What a number counts, where its name doesn't end in it."""

    name: str

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "unit": self.name}


Share = Annotated[float, Field(ge=0, le=1)]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
NAME = r"[a-z0-9][a-z0-9_-]{0,47}"  # part of paths, of a predicate and of partition keys
SourceName = Annotated[str, Field(pattern=f"^{NAME}$")]


class Source(Section):
    """A folder of videos and images, or a listing of them; each a path or an s3:// URL."""

    path: str = Field(description="folder, or a .csv, .jsonl or .parquet listing")
    recursive: bool = Field(True, description="folder only: whether sub-folders belong to it")
    media_types: tuple[MediaType, ...] = Field(
        ("video", "image"), description="folder only: which files to take, by their endings"
    )
    path_column: str = Field("video_path", description="listing only: the column that holds the path")
    folder: str | None = Field(None, description="listing only: what relative paths start from; default: its folder")


class Shards(Section):
    """100 videos of six minutes are some 10,000 clips, a good size of a shard (docs/operations.md)."""

    videos_per_shard: Annotated[int, Unit("videos")] = Field(
        100, ge=1, le=100_000, description="applies to videos not registered yet"
    )
    max_lost_share: Share = Field(0.1, description="a scan that lost a larger share of a source's files is an error")
    settle_s: float = execution(60.0, ge=0, description="the sensor leaves a file alone that was written to since")


class RawVideos(Section):
    """8192 x 8192 px is twice an 8K frame: what one may take of a worker's memory."""

    max_pixels: int = Field(8192 * 8192, ge=1, description="width x height of a frame; larger sources are refused")


CutDetector = Literal["content", "adaptive", "threshold", "transnetv2"]
Cosine = Annotated[float, Field(ge=-1, le=1), Unit("cosine")]


class Cuts(Section):
    """Shot boundaries. Content 27 and 15 frames are EasyAnimate's values; the others are PySceneDetect's defaults."""

    detector: Literal["content", "adaptive", "threshold", "transnetv2", "combined", "none"] = Field(
        "content", description="what finds cuts; threshold: fades to black; none: a video is one shot"
    )
    combined_detectors: Annotated[tuple[CutDetector, ...], Field(min_length=2)] = added(
        ("content", "transnetv2"), description="those of `combined`"
    )
    combined_rule: Literal["any", "vote"] = added("any", description="vote: a cut is what more than half of them find")
    min_scene_frames: int = Field(15, ge=1, description="no cut sooner after another")
    content_threshold: Annotated[float, Unit("of 255")] = Field(
        27.0, gt=0, le=255, description="mean HSV difference of neighbours"
    )
    adaptive_threshold: Annotated[float, Unit("ratio")] = Field(
        3.0, gt=0, description="ratio of a frame's difference to its surroundings"
    )
    adaptive_min_content: Annotated[float, Unit("of 255")] = Field(
        15.0, ge=0, le=255, description="and the least difference that may be a cut"
    )
    adaptive_window_frames: int = Field(2, ge=1, description="surroundings: so many frames before, and after")
    fade_threshold: Annotated[float, Unit("of 255")] = Field(
        12.0, ge=0, le=255, description="mean pixel value below which a frame is black"
    )
    transnetv2_threshold: Annotated[Share, Unit("probability")] = Field(
        0.5, description="of a cut, above which it is one"
    )
    stitch: bool = added(False, description="take back cuts between frames that show the same: flashes, fast camera")
    stitch_similarity: Cosine = added(0.8, description="of frames around a cut, from which on they show the same")
    hidden_cuts: bool = added(False, description="cut too where what is shown changes, however alike the colours are")
    hidden_cut_similarity: Cosine = added(
        0.47, description="of frames around a place, below which it changes; the bound of semantic scores"
    )
    stretch_frames: Annotated[int, Unit("frames")] = execution(
        3000, ge=1, description="longer videos are read in stretches of about this, by several workers at once"
    )


class Clips(Section):
    """How scenes become clips; values of EasyAnimate's stage 1."""

    min_source_area_px: int = Field(512 * 512, ge=0, description="display width x height of the source")
    min_duration_s: float = Field(3.0, gt=0, description="shorter spans are dropped")
    max_duration_s: float = Field(10.0, gt=0, description="longer shots are cut into clips of this length")
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

    longest_side_px: int = Field(1024, ge=64, le=8192, description="of a stored picture; smaller ones stay as they are")
    jpeg_quality: int = Field(92, ge=1, le=100, description="of the stored pictures, as libjpeg counts")


class Crop(Section):
    """What is cut off a clip's picture rather than the clip left out. The shares are chosen, not measured."""

    borders: bool = Field(False, description="letterbox and pillarbox bars that all stored frames have")
    subtitles: bool = Field(False, description="all from the highest line of text that begins in the lower end")
    min_area_share: float = Field(0.6, gt=0, le=1, description="of the picture that must be left; less: it stays whole")
    subtitle_band_share: Share = Field(0.3, description="of the picture's height that is its lower end")

    @property
    def is_on(self) -> bool:
        return self.borders or self.subtitles


class Camera(Section):
    """What names a clip's `camera_motion`; from benchmarks/camera_motion.md."""

    min_speed: Annotated[float, Unit("percent of the diagonal per second")] = Field(
        0.8, ge=0, description="slower is static; zoom and roll count by how far they move the picture"
    )
    min_share: Share = Field(0.4, description="of the picture's texture that follows; less: camera_motion is null")


class DisMotion(Section):
    """Optical flow of small frames; what 320 px cost and miss is measured in docs/decisions.md."""

    longest_side_px: int = Field(320, ge=64, le=4096, description="frames are made smaller to it first")
    pairs_per_s: float = Field(2.0, gt=0, le=60, description="pairs of neighbouring frames looked at")
    camera: Camera = Camera()


class FarnebackMotion(Section):
    """Optical flow as EasyAnimate computes it."""

    samples_per_s: float = Field(2.0, gt=0, le=60, description="frames compared, at native size (EasyAnimate: 2)")


ENGINES = "those that are on; none: no score and no filter"


class Motion(Section):
    engines: tuple[Literal["dis", "farneback"], ...] = Field(("dis",), description=ENGINES)
    dis: DisMotion = DisMotion()
    farneback: FarnebackMotion = FarnebackMotion()


class Part(Section):
    """A value of several fields, with defaults that depend on where it stands."""

    def beside(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What stays of it where a file gives the fields `given`."""
        return self.model_dump()


class Merged(Section):
    """A file that gives some fields of a part leaves the part's others at their defaults here."""

    @model_validator(mode="before")
    @classmethod
    def _keep_other_fields(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        merged = dict(given)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Part) and isinstance(given.get(name), dict):
                merged[name] = {**field.default.beside(given[name]), **given[name]}
        return merged


class Network(Section):
    """How a network runs. Precision moves figures a little; device and batch speed alone."""

    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the weights and what is computed")
    device: str = execution("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one")
    batch_frames: int = execution(
        0, ge=0, description="frames a forward pass; 0: 64 on a GPU, 1 on a CPU. Halved when memory runs out"
    )


class Model(Network, Part):
    """A network's weights in transformers' layout."""

    source: str = Field(description="a folder, or a hub id, which is downloaded when its engine is on")
    revision: str = Field("", description="the hub's commit or tag, a must; of a folder any text. Stored in each row")

    def beside(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All but the revision, where the source is another."""
        kept = self.model_dump()
        return kept if given.get("source", self.source) == self.source else {**kept, "revision": ""}


class Sampling(Section):
    """Which frames of a clip a score looks at, by EasyAnimate's methods; `stored` is all nine of `frames`.

    Of clips whose stored frames need not hold them all, the source is decoded once more, at full size.
    """

    method: Method = Field(description="how frames are chosen")
    frames: int = Field(1, ge=1, description="uniform and random: how many")
    stride: Annotated[int | None, Unit("frames")] = Field(
        None, ge=1, description="random and stride: distance of frames, of random the largest"
    )
    seed: int = Field(0, ge=0, description="random: another one, other frames; the same with each run")

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        require_sampling(self.method, self.frames, self.stride)
        return self


CLIP_L14 = Model(source="openai/clip-vit-large-patch14", revision="32bd64288804d66eefd0ccbe215aa642df71cc41")


Encoder = Literal[
    "efficientnet_lite0", "clip_l14_336", "clip_l14", "clip_b32", "dinov2_small", "dinov2_base", "dinov2_large"
]


class Encoders(Merged):
    """Image encoders. One that two sections name with the same weights goes over a clip's stored frames once."""

    engines: tuple[str, ...]
    clip_l14_336: Model = Model(
        source="openai/clip-vit-large-patch14-336", revision="ce19dc912ca5cd21c8a653c79e251e808ccabcd1"
    )
    clip_l14: Model = CLIP_L14
    clip_b32: Model = Model(source="openai/clip-vit-base-patch32", revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268")
    dinov2_small: Model = Model(source="facebook/dinov2-small", revision="ed25f3a31f01632728cabb09d1542f84ab7b0056")
    dinov2_base: Model = Model(source="facebook/dinov2-base", revision="f9e44c814b77203eaa57a6bdbbd535f21ede1415")
    dinov2_large: Model = Model(source="facebook/dinov2-large", revision="47b73eefe95e8d44ec3623f8890bd894b6ea2d6c")


class Semantic(Encoders):
    engines: tuple[Encoder, ...] = Field(("efficientnet_lite0",), description=ENGINES)
    sampling: Sampling = added(Sampling(method="stored"), description="of two frames at least")

    @field_validator("sampling")
    @classmethod
    def _has_neighbours(cls, sampling: Sampling) -> Sampling:
        if sampling.method in OF_ONE_FRAME or (sampling.method in COUNTED and sampling.frames < 2):
            raise ValueError(f"{sampling.method} gives one frame, and consistency compares two; take another, or more")
        return sampling


SIGLIP_SO400M = Model(source="google/siglip-so400m-patch14-384", revision="9fdffc58afc957d1a03a25b10dba0329ab15c2a3")


Embedder = Literal[Encoder, "siglip_so400m"]


class Embeddings(Encoders):
    """A vector a clip, from its stored frames: for `reelhouse search`, and to find clips that are alike."""

    engines: tuple[Embedder, ...] = Field((), description="those that are on; none: off")
    siglip_so400m: Model = SIGLIP_SO400M


class AestheticModel(Model):
    """An image tower, and the head that makes a figure of its output."""

    head: str = Field(description="a .pth or .safetensors file, or a URL, which is downloaded when its engine is on")
    head_md5: Md5 | None = Field(None, description="checked before use; null: not checked")


class Aesthetic(Merged):
    """Off: no packaged engine scores aesthetics."""

    engines: tuple[Literal["siglip_v2_5", "laion_v2"], ...] = Field((), description=ENGINES)
    siglip_v2_5: AestheticModel = AestheticModel(
        **SIGLIP_SO400M.model_dump(),
        head="https://github.com/discus0434/aesthetic-predictor-v2-5/raw/main/models/aesthetic_predictor_v2_5.pth",
        head_md5="c46eb8c29f714c9231dc630b8226842a",
    )
    laion_v2: AestheticModel = AestheticModel(
        **CLIP_L14.model_dump(),
        head="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
        "sac%2Blogos%2Bava1-l14-linearMSE.pth",
        head_md5="b1047fd767a00134b8fd6529bf19521a",
    )
    sampling: Sampling = added(Sampling(method="uniform", frames=4))


FrameChoice = Literal["middle", "all"] | Annotated[tuple[Annotated[int, Field(ge=0, le=8)], ...], Field(min_length=1)]


class Craft(Network):
    """EasyOCR's detector. It doesn't read, so what only looks like text counts too."""

    weights: str = Field(
        "https://github.com/JaidedAI/EasyOCR/releases/download/pre-v1.1.6/craft_mlt_25k.zip",
        description="a file, or a URL, which is downloaded when its engine is on",
    )
    weights_md5: Md5 | None = Field(
        "2f8227d2def4037cdb3b34389dcf9ec1",
        description="of the .pth file, checked before use; null: not checked",
    )
    area: Literal["union", "sum"] = Field(
        "union", description="union: what boxes cover of the frame; sum: EasyAnimate's figure, of level boxes alone"
    )


class Text(Section):
    """`min_confidence` (benchmarks/calibrate.py), `min_characters` and `longest_side_px` are of `rapidocr` alone."""

    engines: tuple[Literal["rapidocr", "craft"], ...] = Field(("rapidocr",), description=ENGINES)
    frames: FrameChoice = Field("middle", description="middle, all, or positions 0..8 among the stored frames")
    sampling: Sampling | None = added(None, description="in place of `frames`, where given")
    min_confidence: Annotated[Share, Unit("probability")] = Field(
        0.79, description="a box counts when its text is read at least this surely"
    )
    min_characters: int = Field(2, ge=1, description="a box of fewer doesn't count: round things are read as O")
    longest_side_px: int = Field(640, ge=64, le=4096, description="frames are made smaller to it first")
    craft: Craft = Craft()


class Technical(Section):
    engines: tuple[Literal["opencv"], ...] = Field(("opencv",), description=ENGINES)


class Safety(Section):
    """Off by default. `opennsfw` knows pornography in photographs alone: no violence, and no drawings."""

    engines: tuple[Literal["opennsfw"], ...] = Field((), description=ENGINES)


class Watermark(Section):
    """Off by default. `static_overlay` sees what stands still where something moves behind it."""

    engines: tuple[Literal["static_overlay"], ...] = Field((), description=ENGINES)


class Bound(Part):
    """Inclusive bounds: a score equal to a bound passes. A missing score never passes."""

    min: float | None = Field(None, description="lowest score that passes; null: no such bound")
    max: float | None = Field(None, description="highest score that passes; null: no such bound")
    media_types: tuple[MediaType, ...] = added(("video", "image"), description="what the filter is for")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; no score could pass")
        return self

    @property
    def is_given(self) -> bool:
        return self.min is not None or self.max is not None


class VideoBound(Bound):
    """Of a score that compares frames, which an image has none of."""

    media_types: tuple[Literal["video"], ...] = added(("video",), description="what the filter is for")


class DisBound(VideoBound):
    """Of `motion_score`, and of what else `dis` measures; a measure without a bound has no filter."""

    camera_shake: VideoBound = added(VideoBound())


class MotionBounds(Merged):
    """`dis` from benchmarks/calibrate.py; `farneback` is EasyAnimate's."""

    dis: DisBound = DisBound(min=0.95, max=74.0)
    farneback: VideoBound = VideoBound(min=2.0, max=20.0)


class SemanticBounds(Merged):
    """`efficientnet_lite0` from benchmarks/calibrate.py; `clip_l14_336` is EasyAnimate's. Others have none yet."""

    efficientnet_lite0: VideoBound = VideoBound(min=0.47)
    clip_l14_336: VideoBound = VideoBound(min=0.8)
    clip_l14: VideoBound = VideoBound()
    clip_b32: VideoBound = VideoBound()
    dinov2_small: VideoBound = VideoBound()
    dinov2_base: VideoBound = VideoBound()
    dinov2_large: VideoBound = VideoBound()


class AestheticBounds(Merged):
    """EasyAnimate's."""

    siglip_v2_5: Bound = Bound(min=4.0)
    laion_v2: Bound = Bound(min=4.0)


class TextBounds(Merged):
    """EasyAnimate's; for `rapidocr` benchmarks/calibrate.py finds 0.017."""

    rapidocr: Bound = Bound(max=0.02)
    craft: Bound = Bound(max=0.02)


class TechnicalBounds(Merged):
    """One bound a measure, from benchmarks/calibrate.py; each measure's range is in `tables.py`."""

    sharpness: Bound = Bound(min=35.0)
    luma: Bound = Bound(min=23.0, max=180.0)
    black_share: Bound = Bound(max=0.25)
    white_share: Bound = Bound(max=0.35)
    border_share: Bound = Bound(max=0.071)
    frozen_share: VideoBound = VideoBound(max=0.38)
    colour: Bound = Bound(min=0.36)


class TechnicalEngineBounds(Section):
    opencv: TechnicalBounds = TechnicalBounds()


class SafetyBounds(Merged):
    """Yahoo's README calls pictures unsafe from a probability of 0.8 on, and safe below 0.2."""

    opennsfw: Bound = Bound(min=0.2)


class WatermarkBounds(Merged):
    """From benchmarks/watermarks.md."""

    static_overlay: VideoBound = VideoBound(max=0.0005)


class Selection(Section):
    """The filters of `clip_selection`: slot -> engine -> bound. Every engine that is on must pass."""

    motion: MotionBounds = MotionBounds()
    semantic: SemanticBounds = SemanticBounds()
    aesthetic: AestheticBounds = AestheticBounds()
    text: TextBounds = TextBounds()
    technical: TechnicalEngineBounds = TechnicalEngineBounds()
    safety: SafetyBounds = SafetyBounds()
    watermark: WatermarkBounds = WatermarkBounds()


def text_of(value: str | None) -> str | None:
    """A text as it is, or what the .txt file of that path holds."""
    if value is None or "\n" in value or not value.endswith(".txt"):
        return value
    try:
        return Path(value).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise ValueError(f"the file {value} can't be read: {failure}; name a text file in UTF-8") from None


PromptText = Annotated[str | None, AfterValidator(text_of)]
CaptionTokens = Annotated[int | None, Field(ge=16)]
TEMPERATURE = "of sampling; 0: the likeliest token each time"
MAX_TOKENS = "of an answer; one that is longer is cut off"
CONCURRENCY = "requests at a time; a server queues what it can't batch"
SENT_ANYWAY = frozenset({"model", "messages", "temperature", "max_tokens", "seed", "response_format", "stream", "n"})


class Chat(Section):
    """An OpenAI-compatible server; the server is the engine. Sampling is greedy, as EasyAnimate's captioner's."""

    base_url: str | None = execution(None, description="e.g. http://127.0.0.1:8000/v1")
    api_key_env: str | None = execution(None, description="name of the environment variable that holds the key")
    model: str | None = Field(None, description="the model's name at the server")
    revision: str = Field("", description="free text stored with each row; change it to recompute")
    temperature: float = Field(0.0, ge=0, le=2, description=TEMPERATURE)
    max_tokens: int = Field(512, ge=1, description=MAX_TOKENS)
    extra_body: dict[str, Any] = added(
        {}, description="fields of the request, above those of the model's family; null takes one out"
    )
    concurrency: Annotated[int, Unit("requests")] = execution(64, ge=1, description=CONCURRENCY)
    request_timeout_s: float = execution(600.0, gt=0, description="one request, with queue and retries")

    @field_validator("extra_body")
    @classmethod
    def _has_no_setting_of_its_own(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(SENT_ANYWAY & fields.keys()):
            raise ValueError(f"{', '.join(taken)} can't stand here; each is sent as its own setting or the stage says")
        return fields


class WritingChat(Chat):
    """Sampling as EasyAnimate's rewriter's. Requests hold no pictures, so more of them fit a server."""

    temperature: float = Field(0.7, ge=0, le=2, description=TEMPERATURE)
    max_tokens: int = Field(1024, ge=1, description=MAX_TOKENS)
    concurrency: Annotated[int, Unit("requests")] = execution(256, ge=1, description=CONCURRENCY)


class Vllm(Section):
    """A vLLM server that the step starts and stops; `chat` says what it is asked. Lengths and share: EasyAnimate's."""

    model: str | None = Field(None, description="hub id; the name in rows, wherever the weights are read from")
    revision: str = Field("", description="the hub's commit or tag, a must; of a folder any text. Stored in each row")
    source: str | None = execution(None, description="folder of the weights; default: the hub, which downloads them")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="auto: the checkpoint's own")
    max_model_len: Annotated[int, Unit("tokens")] = Field(8192, ge=1, description="tokens of a request and its answer")
    arguments: tuple[str, ...] = Field(
        (), description="further ones of vLLM's server; a checkpoint's quantisation (AWQ) needs none"
    )
    gpus: Annotated[int, Unit("GPUs")] = execution(
        0, ge=0, description="over how many the model is split; 0: all that are visible"
    )
    gpu_memory_utilization: Annotated[float, Unit("share")] = execution(
        0.9, gt=0, le=1, description="share of each; on a CPU, of its memory"
    )
    python: str | None = execution(None, description="interpreter of an environment with vLLM; default: this one")
    start_timeout_s: float = execution(1800.0, gt=0, description="downloads count too")


class Captions(Section):
    engine: Literal["facts", "chat", "vllm"] = Field(
        "facts", description="facts: a sentence of measured facts; chat: a server; vllm: one that the step starts"
    )
    prompt: PromptText = Field(None, description="text or the path of a .txt file; default: the packaged one")
    image_prompt: PromptText = added(None, description="the same for images")
    send: Literal["frames", "video"] = added(
        "frames", description="the frames as numbered pictures, or as one video, which vLLM takes"
    )
    max_caption_tokens: CaptionTokens = added(
        None, description="longer captions are asked for again, shorter; EasyAnimate's trainer keeps 256, LongCLIP 248"
    )
    max_attempts: int = added(3, ge=1, description="requests for a caption of at most max_caption_tokens")
    frame_count: Annotated[int, Unit("frames")] = Field(
        8, ge=1, le=8, description="uniform frames sent to a chat engine"
    )
    chat: Chat = Chat()
    vllm: Vllm = added(Vllm())


WRITER = "embedded: SmolLM2-135M; chat: a server; vllm: one that the step starts; off: texts stay as they are"


class Rewriting(Section):
    """Attempts are EasyAnimate's; it has no bounds on what an answer may leave or add."""

    engine: Literal["embedded", "chat", "vllm", "off"] = Field("embedded", description=WRITER)
    max_attempts: int = Field(10, ge=1, description="requests for an answer that can be used")
    min_similarity: Annotated[float, Unit("cosine")] = Field(
        0.5, ge=-1, le=1, description="MiniLM cosine of answer and caption; below: drift"
    )
    max_new_words: Annotated[Share | None, Unit("share")] = Field(
        None, description="share of an answer's content words that the caption lacks; default: embedded 0, chat 0.5"
    )
    prompt: PromptText = Field(None, description="text or the path of a .txt file; default: the packaged one")
    max_caption_tokens: CaptionTokens = Field(None, description="longer answers are asked for again, shorter")
    chat: WritingChat = WritingChat()
    vllm: Vllm = added(Vllm())


class Beautifying(Section):
    """Short prompts to detailed ones; attempts and the limit of 200 words are EasyAnimate's values."""

    engine: Literal["embedded", "chat", "vllm", "off"] = Field("embedded", description=WRITER)
    template: PromptText = Field(None, description="text or the path of a .txt file; default: the packaged one")
    max_words: int = Field(200, ge=1, description="longer answers are asked for again")
    max_attempts: int = Field(10, ge=1, description="requests for an answer that can be used")
    chat: WritingChat = WritingChat()
    vllm: Vllm = added(Vllm())


class VideoClipXl(Network, Part):
    """VideoCLIP-XL-v2, whose weights are for non-commercial use (CC BY-NC-SA 4.0)."""

    weights: str = Field(
        "https://pai-aigc-photog.oss-cn-hangzhou.aliyuncs.com/easyanimate/video_caption/clip/VideoCLIP-XL-v2.bin",
        description="a file, or a URL, which is downloaded when its engine is on",
    )
    weights_md5: Md5 | None = Field(
        "cebda0bab14b677ec061a57e80791f35",
        description="checked before use, EasyAnimate's by default; null: not checked",
    )
    tokenizer: str = Field(CLIP_L14.source, description="a folder with CLIP's, or a hub id")
    tokenizer_revision: str = Field(CLIP_L14.revision, description="as of other models")

    def beside(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All but the tokenizer's revision, where it is another."""
        kept = self.model_dump()
        same = given.get("tokenizer", self.tokenizer) == self.tokenizer
        return kept if same else {**kept, "tokenizer_revision": ""}


class Alignment(Merged):
    engines: tuple[Literal["label_similarity", "clip_similarity", "clip_score", "videoclip_xl"], ...] = Field(
        ("label_similarity",), description=ENGINES
    )
    clip_similarity: Model = CLIP_L14
    clip_score: Model = CLIP_L14
    videoclip_xl: VideoClipXl = VideoClipXl()

    @model_validator(mode="before")
    @classmethod
    def _take_one_engine(cls, given: object) -> object:
        """Files of before there were several say `engine: NAME`, or `engine: off`, which YAML takes for false."""
        if not isinstance(given, dict) or "engine" not in given:
            return given
        engine = given["engine"]
        others = {name: value for name, value in given.items() if name != "engine"}
        return {"engines": () if engine in ("off", False) else (engine,), **others}


class AlignmentBounds(Merged):
    """0.05 let 87 % of captions written by hand pass with their own shot and 35 % with another, of 15 shots.

    `videoclip_xl` is EasyAnimate's, set on scores of pictures whose red and blue were exchanged.
    """

    label_similarity: Bound = Bound(min=0.05)
    clip_similarity: Bound = Bound()
    clip_score: Bound = Bound()
    videoclip_xl: Bound = Bound(min=0.20)


class SampleSelection(Section):
    """The filters of `sample_selection`, next to the status of caption and rewrite."""

    alignment: AlignmentBounds = AlignmentBounds()


class Tier(Section):
    """A part of a training set: the samples that pass its bounds and those of the tiers before it."""

    name: SourceName = Field(description="of its folder")
    selection: Selection = Field(Selection(), description="bounds as of `selection`; one not given is none")
    sample_selection: SampleSelection = Field(SampleSelection(), description="likewise")

    @field_validator("selection", "sample_selection", mode="before")
    @classmethod
    def _leave_the_rest_open(cls, given: object, field: ValidationInfo) -> object:
        return _open_sides(cls.model_fields[str(field.field_name)].annotation, given)


def _open_sides(bounds: Any, given: object) -> object:
    """`given` with null for the sides that it leaves out, where the defaults of `bounds` would stand."""
    if not isinstance(given, dict):
        return given
    if issubclass(bounds, Bound):
        return {"min": None, "max": None, **given}
    parts = {name: field.annotation for name, field in bounds.model_fields.items() if name in given}
    return {**given, **{name: _open_sides(part, given[name]) for name, part in parts.items()}}


class ClipFiles(Section):
    """Encoding of clips in the manifest; x264 veryfast CRF 22 + AAC are EasyAnimate's choices."""

    video_codec: Literal["libx264", "libx265"] = Field("libx264", description="FFmpeg's name of the encoder")
    preset: str = Field("veryfast", pattern=r"^[a-z]+$", description="the encoder's: faster ones make larger files")
    crf: int = Field(22, ge=0, le=51, description="constant rate factor; lower is better and larger")
    pixel_format: Literal["yuv420p", "yuv444p"] = Field("yuv420p", description="4:2:0 plays everywhere")
    keyframe_interval: Annotated[int, Unit("frames")] = Field(250, ge=1, description="largest distance of keyframes")
    encoder_threads: Annotated[int, Unit("threads")] = Field(
        1, ge=1, description="fixed, since x264's output depends on it; workers fill the cores"
    )
    audio: Literal["aac", "none"] = Field("aac", description="codec of the source's sound; none: left out")
    audio_bitrate_kbps: int = Field(128, ge=8, le=512, description="of the sound")
    min_psnr_db: float = Field(18.0, ge=0, description="first and last frame against the source; below: failed")
    copy_where_exact: bool = added(
        False, description="take the picture as it is stored where that is exactly the span's frames, else encode it"
    )


class Trainer(Section):
    """What EasyAnimate's trainer needs of a sample: frames >= stride * frame_count / 0.8, caption tokens."""

    frame_count: Annotated[int, Unit("frames")] = Field(49, ge=1, description="of a training sample")
    stride: Annotated[int, Unit("frames")] = Field(3, ge=1, description="distance of a sample's frames in the clip")
    max_caption_tokens: int = Field(256, ge=1, description="longer texts get a warning: the trainer cuts them off")
    tokenizer: str | None = added(
        None, description="folder with a tokenizer.json that counts captions' tokens; default: they are estimated"
    )


class Duplicates(Section):
    """Clips that show what another shows; of those that are selected one is kept. Bounds: benchmarks/duplicates.md."""

    kinds: tuple[Literal["exact", "perceptual", "semantic"], ...] = Field(
        (), description="exact: the same frames; perceptual: alike to the eye; semantic: alike in content; none: off"
    )
    max_hash_distance: Annotated[int, Unit("bits of 256")] = Field(
        56, ge=0, le=128, description="perceptual: between frames that count as the same"
    )
    min_frame_share: Share = Field(0.7, description="perceptual: of the frames that are the same, in order")
    engine: Embedder = Field("efficientnet_lite0", description="semantic: whose embeddings are compared")
    min_cosine: Cosine = Field(0.95, ge=0, description="semantic: between the clips' embeddings")
    keep: tuple[Literal["aesthetics", "resolution", "length"], ...] = Field(
        ("aesthetics", "resolution", "length"),
        min_length=1,
        description="of duplicates the one with most of the first; the next decides between equals",
    )


class Bins(Section):
    """Folders of the tars that `reelhouse export webdataset` writes; aspect ratios as of cosmos-curate."""

    aspect_ratios: tuple[Annotated[str, Field(pattern="^[1-9][0-9]*:[1-9][0-9]*$")], ...] = execution(
        ("9:16", "3:4", "1:1", "4:3", "16:9"), min_length=1, description="width:height; the nearest by ratio"
    )
    short_sides_px: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Unit("px")] = execution(
        (480, 720, 1080), description="of the shorter side the largest that it reaches, else 0"
    )
    durations_s: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Unit("s")] = execution(
        (3.0, 5.0, 10.0, 30.0), description="the longest that the clip reaches, else 0"
    )
    tar_bytes: int = execution(500_000_000, ge=1, description="of clips in a tar, or one clip")


class Balance(Section):
    """Weights by which what is rare is trained on as well as what is common; `reelhouse export` writes them."""

    engine: str | None = execution(None, description="of `embeddings`, by which clips are alike; null: no weights")
    clusters: Annotated[int, Unit("clusters")] = execution(100, ge=2, description="of clips that are alike, by k-means")


class TrainingSet(Section):
    paths: Literal["relative", "absolute"] = Field("relative", description="file_path in exports; relative to the home")
    validation_share: Share = added(0.0, description="of videos, held out; a larger one later holds out more of them")
    bins: Bins = Bins()
    balance: Balance = Balance()
    trainer: Trainer = Trainer()


class Execution(Section):
    """How much of the machine to use. None of this changes a result."""

    workers: Annotated[int, Unit("processes")] = execution(0, ge=0, description="worker processes; 0: one a core")
    batch_units: Annotated[int, Unit("units")] = execution(32, ge=1, description="units between two writes to staging")
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


Quantity = Annotated[str, Field(pattern="^[1-9][0-9]*(Mi|Gi|Ti)$")]
LabelName = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
ResourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]


class Toleration(Section):
    """A taint on which a pod may run all the same."""

    key: LabelName = Field(description="of the taint")
    value: LabelValue | None = Field(None, description="null: whatever its value")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(None, description="null: every one")


class Pod(Part):
    """What a step's pod asks for, and is held to: each figure is request and limit.

    So cores too: a step starts as many processes as its pod may use, which must not depend on the node it gets.
    """

    cpu: Annotated[float, Unit("cores")] = Field(1.0, ge=0.1, description="a step runs a worker process on each")
    memory: Quantity = Field("2Gi", description="shared memory is part of it")
    disk: Quantity = Field("10Gi", description="scratch; a worker keeps a copy of the remote video it works on")
    gpus: Annotated[int | None, Unit("GPUs")] = Field(
        None, ge=0, description="null: 1 where the step's engines need one, else 0"
    )
    gpu_kind: LabelValue | None = Field(None, description="the node's label nvidia.com/gpu.product, e.g. NVIDIA-L4")
    gpu_resource: ResourceName = Field("nvidia.com/gpu", description="what nodes with a GPU offer and are tainted with")
    node_selector: dict[LabelName, LabelValue] = Field({}, description="labels that its node must have")
    tolerations: tuple[Toleration, ...] = Field((), description="beside that of the GPU's taint")
    runtime_class: ObjectName | None = Field(None, description="null: the cluster's default")
    shared_memory: Quantity | None = Field(None, description="/dev/shm; null: 64 MiB. vLLM on several GPUs wants more")
    time_limit_s: int = Field(
        6 * 3600, ge=60, description="with the wait for a node and the image; what was staged by then is kept"
    )


# Of 16Gi, 8 are for one item that takes all that execution.item_memory_bytes lets it, and 1 is for each core. Measured:
# a worker takes 0.1 GiB to decode 4K, 0.3 to 0.5 with an embedded network; x264 takes 0.2 for 1080p, 0.7 for 4K.
_ARITHMETIC = Pod(time_limit_s=2 * 3600)
_MEDIA = Pod(cpu=8, memory="16Gi", disk="50Gi")
_NETWORKS = Pod(cpu=4, memory="16Gi")
_ASKING = Pod(cpu=2, memory="4Gi")


class Steps(Merged):
    """The pod of each step; a step that makes several tables is one pod."""

    source_files: Pod = Pod(cpu=4, memory="4Gi")
    raw_videos: Pod = Pod(cpu=4, memory="8Gi", disk="50Gi")
    scenes: Pod = _MEDIA
    clips: Pod = _ARITHMETIC
    frames_and_motion: Pod = _MEDIA
    clip_crops: Pod = _NETWORKS
    semantic_scores: Pod = _NETWORKS  # makes clip_embeddings too
    aesthetic_scores: Pod = _NETWORKS
    text_scores: Pod = _NETWORKS
    technical_scores: Pod = Pod(cpu=4, memory="8Gi")
    safety_scores: Pod = Pod(cpu=4, memory="8Gi")
    watermark_scores: Pod = Pod(cpu=4, memory="8Gi")
    clip_selection: Pod = _ARITHMETIC
    clip_hashes: Pod = Pod(cpu=4, memory="8Gi")
    clip_neighbours: Pod = Pod(cpu=4, memory="16Gi")
    duplicates: Pod = Pod(cpu=2, memory="16Gi")
    captions: Pod = _ASKING
    rewritten_captions: Pod = _ASKING
    alignment_scores: Pod = _NETWORKS
    sample_selection: Pod = _ARITHMETIC
    clip_files: Pod = _MEDIA
    training_manifest: Pod = _ARITHMETIC
    training_set: Pod = Pod(cpu=2, memory="16Gi")
    release_report: Pod = Pod(cpu=2, memory="16Gi")
    prompts: Pod = _ARITHMETIC
    beautified_prompts: Pod = _ASKING
    maintain_home: Pod = Pod(cpu=2, memory="8Gi")


class Kubernetes(Section):
    """Pods of steps, where `CURATION_EXECUTOR` is `k8s`."""

    gpu_image: str | None = Field(None, min_length=1, description="of steps with a GPU; null: the code location's own")
    service_account: ObjectName | None = Field(None, description="of steps; null: the run's own, which makes Jobs")
    steps: Steps = Steps()


class Settings(Section):
    sources: dict[SourceName, Source] = Field({}, description="by name")
    shards: Shards = Shards()
    raw_videos: RawVideos = RawVideos()
    cuts: Cuts = Cuts()
    clips: Clips = Clips()
    frames: Frames = Frames()
    crop: Crop = Crop()
    motion: Motion = Motion()
    semantic: Semantic = Semantic()
    embeddings: Embeddings = Embeddings()
    aesthetic: Aesthetic = Aesthetic()
    text: Text = Text()
    technical: Technical = Technical()
    safety: Safety = Safety()
    watermark: Watermark = Watermark()
    selection: Selection = Selection()
    captions: Captions = Captions()
    rewriting: Rewriting = Rewriting()
    alignment: Alignment = Alignment()
    duplicates: Duplicates = Duplicates()
    beautifying: Beautifying = Beautifying()
    sample_selection: SampleSelection = SampleSelection()
    clip_files: ClipFiles = ClipFiles()
    training_set: TrainingSet = TrainingSet()
    tiers: tuple[Tier, ...] = execution((), description="of `reelhouse tiers`, from broad to strict; in no table")
    kubernetes: Kubernetes = execution(Kubernetes())
    execution: Execution = Execution()
    lineage: Lineage = Lineage()
    maintenance: Maintenance = Maintenance()

    @model_validator(mode="after")
    def _bounds_have_engines(self) -> Self:
        for place, owner in [("", self), *((f"tiers.{tier.name}.", tier) for tier in self.tiers)]:
            for filters in ("selection", "sample_selection"):
                section = getattr(owner, filters)
                for slot in sorted(section.model_fields_set):
                    engines = getattr(self, slot).engines
                    for engine in sorted(getattr(section, slot).model_fields_set.difference(engines)):
                        raise ValueError(
                            f"{place}{filters}.{slot}.{engine} is a threshold on an engine that is off "
                            f"({slot}.engines is {list(engines)}); turn the engine on or remove the threshold"
                        )
        return self

    @model_validator(mode="after")
    def _compared_embeddings_are_made(self) -> Self:
        wanted, made = self.duplicates.engine, self.embeddings.engines
        if "semantic" in self.duplicates.kinds and wanted not in made:
            raise ValueError(
                f"duplicates.kinds has semantic, which compares embeddings of {wanted}, but embeddings.engines is "
                f"{list(made)}; add it there, or name another in duplicates.engine"
            )
        return self

    @model_validator(mode="after")
    def _tiers_have_names_of_their_own(self) -> Self:
        names = [tier.name for tier in self.tiers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tiers: several are named {', '.join(twice)}; each needs a name of its own")
        return self

    @model_validator(mode="after")
    def _chat_engines_are_complete(self) -> Self:
        for slot in ("captions", "rewriting", "beautifying"):
            section = getattr(self, slot)
            if section.engine == "chat" and not (section.chat.base_url and section.chat.model):
                raise ValueError(f"{slot}.engine is 'chat', which needs {slot}.chat.base_url and {slot}.chat.model")
            if section.engine == "vllm" and not section.vllm.model:
                raise ValueError(f"{slot}.engine is 'vllm', which needs {slot}.vllm.model")
        return self

    @model_validator(mode="after")
    def _weights_of_the_hub_are_pinned(self) -> Self:
        for setting, source, revision in self._sources_of_weights():
            if is_hub_id(source) and not revision:
                raise ValueError(
                    f"{setting} is missing: {source} is no folder here but a hub id, whose newest weights change "
                    f"unseen; name a commit, such as the newest, which is `sha` of: hf models info {source}"
                )
        return self

    def _sources_of_weights(self) -> Iterator[tuple[str, str, str]]:
        """(field of the revision, source, revision) of the engines that are on."""
        for slot in ("semantic", "embeddings", "aesthetic", "alignment"):
            section = getattr(self, slot)
            for engine in section.engines:
                model = getattr(section, engine, None)
                if isinstance(model, Model):
                    yield f"{slot}.{engine}.revision", model.source, model.revision
                elif isinstance(model, VideoClipXl):
                    yield f"{slot}.{engine}.tokenizer_revision", model.tokenizer, model.tokenizer_revision
        for slot in ("captions", "rewriting", "beautifying"):
            section = getattr(self, slot)
            if section.engine == "vllm":
                yield f"{slot}.vllm.revision", section.vllm.source or section.vllm.model, section.vllm.revision


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


def declared(section: BaseModel) -> dict[str, Any]:
    """The result settings as a stage declares them: without fields that were `added` later and are at their default."""
    kept = result_settings(section)
    for name, field in type(section).model_fields.items():
        value, extra = getattr(section, name), field.json_schema_extra
        if isinstance(extra, dict) and extra.get("added") and value == field.default:
            del kept[name]
        elif name in kept and isinstance(value, BaseModel):
            kept[name] = declared(value)
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
        raise SettingsError(f"{file}: " + without_login("; ".join(problems))) from None


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
    return parse_settings(settings_document(file), str(settings_file(file)))


def settings_document(file: str | None = None) -> object:
    """What `settings_file` holds, not validated; None where there is none. Raises SettingsError as `load_settings`."""
    path = settings_file(file)
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8") as stream:  # of which errors quote no line: it may hold a login
            return yaml.safe_load(stream)
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise SettingsError(f"{path}: not readable as YAML: {failure}") from None
    except OSError as failure:
        raise SettingsError(f"{path}: {failure.strerror}; name a readable YAML file") from None


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
    if Path(place).is_file():
        raise SettingsError(f"CURATION_HOME: {place} is a file; name a folder")
    return home
