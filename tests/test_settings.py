"""A settings file is understood or refused with the reason; what can't change a result doesn't look as if it could."""

import math
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from curation_assets.settings import (
    Bound,
    Kubernetes,
    Sampling,
    Section,
    Settings,
    SettingsError,
    home_path,
    load_settings,
    parse_settings,
    result_settings,
    settings_hash,
)

DEPLOYMENTS = Path(__file__).parent.parent / "deployments"
CHAT = {"base_url": "http://127.0.0.1:8000/v1", "model": "m"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cut: {}", ["cut: unknown key (value {})", "`reelhouse settings` lists the keys"]),
        ("cuts: {detectors: content}", ["cuts.detectors: unknown key (value 'content')"]),
        ("selection: {aesthetic: {v2: {min: 4}}}", ["selection.aesthetic.v2: unknown key"]),
        ("semantic: {clip_l14: {device: gpu}}", ["semantic.clip_l14.device: ", "pattern", "found 'gpu'"]),
        ("semantic: {clip_l14: {source: ~}}", ["semantic.clip_l14.source: ", "valid string", "found None"]),
        (
            "aesthetic: {laion_v2: {head_md5: abc}}",
            ["aesthetic.laion_v2.head_md5: ", "pattern", "found 'abc'"],
        ),
        ("captions: {chat: {api_key: s}}", ["captions.chat.api_key: unknown key"]),
        ("frames: {longest_side_px: wide}", ["frames.longest_side_px: ", "valid integer", "found 'wide'"]),
        ("frames: {longest_side_px: 32}", ["frames.longest_side_px: ", "greater than or equal to 64", "found 32"]),
        ("cuts: {content_threshold: 256}", ["cuts.content_threshold: ", "less than or equal to 255", "found 256"]),
        ("cuts: {content_threshold: .nan}", ["cuts.content_threshold: ", "found nan"]),
        ("selection: {motion: {dis: {min: .inf}}}", ["selection.motion.dis.min: ", "finite number", "found inf"]),
        ("cuts: {detector: scene}", ["cuts.detector: ", "'content', 'adaptive', 'threshold'", "found 'scene'"]),
        ("motion: {engines: [dis, raft]}", ["motion.engines.1: ", "'dis' or 'farneback'", "found 'raft'"]),
        ("text: {frames: [0, 9]}", ["text.frames", "less than or equal to 8", "found 9"]),
        ("text: {sampling: {method: keyframes}}", ["text.sampling.method: ", "'keyframe+first'", "found 'keyframes'"]),
        ("text: {sampling: {method: uniform, frames: 0}}", ["text.sampling.frames: ", "found 0"]),
        ("text: {sampling: {method: uniform, stride: 2}}", ["text.sampling: stride is 2, which is for random or"]),
        ("aesthetic: {sampling: {method: random, frames: 4}}", ["aesthetic.sampling: random needs a stride"]),
        ("aesthetic: {sampling: {method: mid, frames: 4}}", ["aesthetic.sampling: frames is 4, which is for ran"]),
        ("semantic: {sampling: {method: last}}", ["semantic.sampling: last gives one frame", "compares two"]),
        ("sources: {films: {recursive: true}}", ["sources.films.path: Field required"]),
        ("sources: {My Films: {path: /x}}", ["sources.My Films", "pattern", "found 'My Films'"]),
        ("clips: [1, 2]", ["clips: ", "found [1, 2]"]),
        (
            "clips: {min_duration_s: 11}",
            ["clips: min_duration_s 11.0 is above max_duration_s 10.0; the minimum must not"],
        ),
        ("selection: {motion: {dis: {min: 9, max: 2}}}", ["selection.motion.dis: min 9.0 is above max 2.0; no score"]),
        (
            "selection: {motion: {farneback: {min: 2}}}",
            ["selection.motion.farneback is a threshold on an engine that is off", "['dis']", "remove the threshold"],
        ),
        (
            "{alignment: {engine: 'off'}, sample_selection: {alignment: {label_similarity: {min: 0.1}}}}",
            ["sample_selection.alignment.label_similarity is a threshold on an engine that is off", "engines is []"],
        ),
        (
            "captions: {engine: chat}",
            ["captions.engine is 'chat', which needs captions.chat.base_url and captions.chat"],
        ),
        (
            "rewriting: {engine: chat, chat: {model: m}}",
            ["rewriting.engine is 'chat', which needs rewriting.chat.base"],
        ),
        ("captions: {engine: vllm}", ["captions.engine is 'vllm', which needs captions.vllm.model"]),
        ("cuts: {content_threshold: 27", ["not readable as YAML", "line 1"]),
        ("- cuts", ["expected a mapping of sections, found list"]),
        ("27", ["expected a mapping of sections, found int"]),
        ("1: 2", ["1", "Keys should be strings"]),
    ],
)
def test_a_wrong_setting_names_file_key_value_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    file = tmp_path / "curation.yaml"
    file.write_text(text)

    with pytest.raises(SettingsError) as raised:
        load_settings(str(file))

    message = str(raised.value)
    assert message.startswith(f"{file}: ")
    for part in parts:
        assert part in message


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^x\.yaml: cuts\.a: unknown.*; frames\.jpeg_quality: .*found 0$"):
        parse_settings({"cuts": {"a": 1}, "frames": {"jpeg_quality": 0}}, "x.yaml")


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "nothing.yaml")
    if by == "environment":
        monkeypatch.setenv("CURATION_SETTINGS", missing)

    with pytest.raises(SettingsError, match=r"nothing\.yaml: settings file not found; check --settings or CURATION"):
        load_settings(missing if by == "argument" else None)


def test_a_folder_or_bytes_in_place_of_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(SettingsError, match="Is a directory; name a readable YAML file"):
        load_settings(str(tmp_path))
    with pytest.raises(SettingsError, match=r"binary\.yaml: not readable as YAML"):
        load_settings(str(tmp_path / "binary.yaml"))


def test_no_file_and_an_empty_file_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing but a comment\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CURATION_SETTINGS", raising=False)

    assert load_settings() == load_settings("empty.yaml") == Settings()


@pytest.mark.parametrize("file", sorted(DEPLOYMENTS.glob("*/curation.yaml")), ids=lambda file: file.parent.name)
def test_the_settings_of_every_deployment_load(file: Path) -> None:
    assert isinstance(load_settings(str(file)), Settings)


@pytest.mark.parametrize("folder", ["a home", "Zürich", "50%", "a=b", "[x]"])
def test_a_home_whose_tables_could_not_be_read_is_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", f"/data/{folder}")

    with pytest.raises(SettingsError, match=r"CURATION_HOME: tables below /data/.* couldn't be read, because of"):
        home_path()


@pytest.mark.parametrize("home", ["/data/home-1_2.3", "s3://bucket/home-1_2.3", "~x@y+z"])
def test_an_ordinary_home_is_taken_as_given(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", home)

    assert home_path() == home


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting with its dotted key; `sources` change no result of a file, and a sampling is one whole.

    So is a section of which nothing changes a result.
    """
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in (Sampling, Kubernetes):
            yield from _fields(kind, f"{prefix}{name}.")
        elif name != "sources":
            yield prefix + name, field


FIELDS = dict(_fields(Settings))


def _numbers(annotation: Any, metadata: list[Any]) -> Iterator[list[Any]]:
    """The constraints of each number that a setting can be."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = metadata + [c for m in more for c in (m.metadata if isinstance(m, FieldInfo) else [m])]
    if annotation in (int, float):
        yield metadata
    elif get_origin(annotation) in (Union, types.UnionType, tuple):
        for part in get_args(annotation):
            yield from _numbers(part, metadata)


NUMBERS = {key: list(_numbers(field.annotation, field.metadata)) for key, field in FIELDS.items()}


@pytest.mark.parametrize("key", [key for key, numbers in NUMBERS.items() if numbers and "selection." not in key])
def test_every_number_has_a_bound(key: str) -> None:
    for constraints in NUMBERS[key]:
        assert any(isinstance(c, annotated_types.Ge | annotated_types.Gt) for c in constraints)


def test_the_bounds_of_every_threshold_are_checked() -> None:
    thresholds = {key.rpartition(".")[0] for key in FIELDS if key.startswith(("selection.", "sample_selection."))}

    for threshold in thresholds:
        section: Any = Settings()
        for name in threshold.split("."):
            section = getattr(section, name)
        assert isinstance(section, Bound)


def _current(key: str) -> Any:
    value: Any = Settings()
    for name in key.split("."):
        value = getattr(value, name)
    return value


OTHER_VALUES: dict[str, Any] = {
    "cuts.combined_detectors": ["content", "adaptive"],
    "kubernetes": {"gpu_image": "image:1", "steps": {"scenes": {"cpu": 2}}},
    "semantic.sampling": {"method": "keyframe+first"},
    "aesthetic.sampling": {"method": "uniform", "frames": 8},
    "text.sampling": {"method": "mid"},
    "text.frames": "all",
    "clip_files.preset": "slow",
    "execution.item_memory_bytes": 2**30,
    "motion.engines": ["farneback"],
    "semantic.engines": ["clip_b32"],
    "embeddings.engines": ["clip_b32"],
    "duplicates.kinds": ["exact"],
    "duplicates.keep": ["length"],
    "aesthetic.engines": ["laion_v2"],
    "safety.engines": ["opennsfw"],
    "watermark.engines": ["static_overlay"],
    "tiers": [{"name": "broad"}],
    "training_set.bins.aspect_ratios": ["1:1"],
    "training_set.bins.short_sides_px": [256],
    "training_set.bins.durations_s": [2.0],
}


def _another(key: str) -> Any:
    """A valid value that the setting doesn't have."""
    value = _current(key)
    if key in OTHER_VALUES:
        return OTHER_VALUES[key]
    if key.endswith((".device", "_md5")):
        return "cpu" if key.endswith(".device") else "0" * 32
    if key.endswith((".media_types", ".engines")):
        return []
    annotation = FIELDS[key].annotation
    if get_origin(annotation) is Literal:
        return next(v for v in get_args(annotation) if v != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if key.endswith((".min", ".max", "_px", "_frames")) else _nearby(key, value)
    if value is None and key.endswith((".min", ".max")):  # a bound's other side keeps its default
        return -1000.0 if key.endswith(".min") else 1000.0
    if isinstance(value, dict):
        return {"something": 1}
    if key.endswith("vllm.arguments"):
        return ["--something"]
    if value is None and "int" in str(annotation):
        return 100
    if value is None:
        return 0.25 if "float" in str(annotation) else "something"
    return value + " and more"


def _nearby(key: str, value: float) -> float:
    bounds: list[Any] = [c for constraints in NUMBERS[key] for c in constraints if isinstance(c, annotated_types.Le)]
    ceiling = min((bound.le for bound in bounds), default=math.inf)
    step = 1 if isinstance(value, int) else 0.125
    return value + step if value + step <= ceiling else value - step


def _document(key: str, value: Any) -> dict[str, Any]:
    document: dict[str, Any] = {}
    section = document
    *sections, name = key.split(".")
    for part in sections:
        section = section.setdefault(part, {})
    section[name] = value
    if key.startswith(("selection.", "sample_selection.")):
        slot, engine = sections[1:3]
        document[slot] = {"engines": [engine]}
    if value == "chat":
        section["chat"] = CHAT
    return document


def _is_execution(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("execution"))


@pytest.mark.parametrize("key", [k for k in FIELDS if not k.startswith("shards.")])
def test_the_hash_changes_with_what_can_change_a_result_and_only_with_that(key: str) -> None:
    with_another = parse_settings(_document(key, _another(key)), "x.yaml")
    with_current = parse_settings(_document(key, _plain(_current(key))), "x.yaml")

    assert (settings_hash(with_another) == settings_hash(with_current)) == _is_execution(FIELDS[key])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_sources_and_shard_size_are_no_part_of_the_hash() -> None:
    with_source = parse_settings({"sources": {"a": {"path": "/x"}}, "shards": {"videos_per_shard": 7}}, "x.yaml")

    assert settings_hash(with_source) == settings_hash(Settings())


def test_places_keys_and_workers_are_execution_settings() -> None:
    execution = {key for key, field in FIELDS.items() if _is_execution(field)}

    assert {key for key in FIELDS if key.startswith("execution.")} <= execution
    for slot in ("captions", "rewriting"):
        assert {
            f"{slot}.chat.{n}" for n in ("base_url", "api_key_env", "concurrency", "request_timeout_s")
        } <= execution
        assert {f"{slot}.chat.{n}" for n in ("model", "revision", "temperature", "max_tokens")}.isdisjoint(execution)


def test_a_server_that_moved_makes_the_same_results() -> None:
    def captions(**chat: Any) -> Settings:
        return parse_settings({"captions": {"engine": "chat", "chat": {**CHAT, **chat}}}, "x.yaml")

    here, there = captions(), captions(base_url="http://gpu:8000/v1", concurrency=64, api_key_env="KEY")

    assert result_settings(here.captions) == result_settings(there.captions)
    assert result_settings(here.captions) != result_settings(captions(model="other").captions)


def test_settings_cannot_be_changed_after_they_were_validated() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().cuts.content_threshold = 30.0  # type: ignore[misc]
    assert issubclass(Settings, Section)


def test_a_model_keeps_what_a_file_leaves_out_but_not_the_revision_of_another_source() -> None:
    default = Settings().semantic.clip_b32

    def clip(**given: Any) -> Any:
        return parse_settings({"semantic": {"clip_b32": given}}, "f.yaml").semantic.clip_b32

    assert clip(precision="bf16") == default.model_copy(update={"precision": "bf16"})
    assert clip(source=default.source) == default
    assert clip(source="/models/clip") == default.model_copy(update={"source": "/models/clip", "revision": ""})
    assert clip(source="/models/clip", revision="mine").revision == "mine"


def of_hub(slot: str, engine: str, **given: Any) -> dict[str, Any]:
    return {slot: {"engines": [engine], engine: given}}


@pytest.mark.parametrize(
    ("document", "setting", "model"),
    [
        (of_hub("semantic", "clip_b32", source="me/mine"), "semantic.clip_b32.revision", "me/mine"),
        (of_hub("aesthetic", "laion_v2", revision=""), "aesthetic.laion_v2.revision", "openai/clip-vit-large-patch14"),
        (of_hub("alignment", "clip_score", source="mine"), "alignment.clip_score.revision", "mine"),
        (of_hub("alignment", "videoclip_xl", tokenizer="a/b"), "alignment.videoclip_xl.tokenizer_revision", "a/b"),
        ({"captions": {"engine": "vllm", "vllm": {"model": "a/b"}}}, "captions.vllm.revision", "a/b"),
    ],
)
def test_what_comes_from_the_hub_names_a_revision(document: dict[str, Any], setting: str, model: str) -> None:
    wanted = rf"^f\.yaml: {re.escape(setting)} is missing: {model} .* is `sha` of: hf models info {model}$"
    with pytest.raises(SettingsError, match=wanted):
        parse_settings(document, "f.yaml")
    slot, engine, field = setting.split(".")
    document[slot].setdefault(engine, {})[field] = "3d74acf"
    parse_settings(document, "f.yaml")


def test_a_folder_or_an_engine_that_is_off_needs_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    parse_settings(of_hub("semantic", "clip_b32", source="mine"), "f.yaml")
    parse_settings({"semantic": {"clip_b32": {"source": "me/mine"}}}, "f.yaml")


@pytest.mark.parametrize(("given", "engines"), [("off", ()), (False, ()), ("clip_score", ("clip_score",))])
def test_a_file_with_one_alignment_engine_is_understood(given: Any, engines: tuple[str, ...]) -> None:
    assert parse_settings({"alignment": {"engine": given}}, "f.yaml").alignment.engines == engines


def test_one_side_of_a_bound_leaves_the_other_at_its_default() -> None:
    default = Settings().selection.motion.dis
    settings = parse_settings({"selection": {"motion": {"dis": {"min": 5.0}}}}, "f.yaml")
    assert settings.selection.motion.dis == default.model_copy(update={"min": 5.0})


def test_null_removes_one_side_of_a_bound() -> None:
    settings = parse_settings({"selection": {"technical": {"opencv": {"luma": {"max": None}}}}}, "f.yaml")
    assert settings.selection.technical.opencv.luma == Bound(min=Settings().selection.technical.opencv.luma.min)
