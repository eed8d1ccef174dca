"""Download the weights that the settings name and that are missing in HF_HOME and XDG_CACHE_HOME."""

from collections.abc import Iterator

from huggingface_hub import snapshot_download

from curation_assets.settings import AestheticModel, Craft, Model, Settings, VideoClipXl, load_settings
from resources.checkpoints import WeightsFile

OTHER_FRAMEWORKS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite"]


def hub_models(settings: Settings) -> Iterator[tuple[str, str]]:
    """Hub id and revision of each engine that is on; an empty revision is the hub's newest."""
    for slot in (settings.semantic, settings.aesthetic, settings.alignment):
        for engine in slot.engines:
            section = getattr(slot, engine, None)
            if isinstance(section, Model):
                yield section.source, section.revision
            if isinstance(section, VideoClipXl):
                yield section.tokenizer, section.tokenizer_revision
    for writer in (settings.captions, settings.rewriting, settings.beautifying):
        if writer.engine == "chat" and writer.chat.model:
            yield writer.chat.model, writer.chat.revision


def weights_files(settings: Settings) -> Iterator[WeightsFile]:
    """The single files of engines that are on."""
    for slot in (settings.aesthetic, settings.text, settings.alignment):
        for engine in slot.engines:
            section = getattr(slot, engine, None)
            if isinstance(section, AestheticModel):
                yield WeightsFile(f"{engine}.head", section.head, section.head_md5)
            if isinstance(section, Craft | VideoClipXl):
                yield WeightsFile(f"{engine}.weights", section.weights, section.weights_md5)


def main() -> None:
    settings = load_settings()
    for name, revision in dict.fromkeys(hub_models(settings)):
        print(name, revision, flush=True)
        snapshot_download(name, revision=revision or None, ignore_patterns=OTHER_FRAMEWORKS)
    for file in weights_files(settings):
        print(file.path(), flush=True)


if __name__ == "__main__":
    main()
