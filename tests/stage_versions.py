"""What each stage's results are computed by: the code behind its version, comments and docstrings aside.

`python -m tests.stage_versions` records the present code as that of the present versions: run it when a change can't
change a result, or after raising the stage's `version` in its `assets.py`.
"""

import ast
import hashlib
import json
from pathlib import Path

import grimp

from curation_assets.definitions import build_definitions
from curation_assets.settings import Safety, Settings, Watermark

RECORD = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parent.parent

COMPUTED_BY = {
    "raw_videos": "curation_assets.raw_videos.image_probing",
    "scenes": "curation_assets.clips.detection",
    "clips": "curation_assets.clips.spans",
    "frames": "curation_assets.frames.storing",
    "motion_scores": "curation_assets.frames.storing",
    "semantic_scores": "curation_assets.scores.encoded",
    "clip_embeddings": "curation_assets.scores.encoded",
    "aesthetic_scores": "curation_assets.scores.from_frames",
    "text_scores": "curation_assets.scores.from_frames",
    "technical_scores": "curation_assets.scores.from_frames",
    "safety_scores": "curation_assets.scores.screening",
    "watermark_scores": "curation_assets.scores.screening",
    "clip_selection": "curation_assets.selection.decisions",
    "captions": "curation_assets.captions.from_frames",
    "rewritten_captions": "curation_assets.captions.rewriting",
    "alignment_scores": "curation_assets.captions.from_frames",
    "sample_selection": "curation_assets.selection.decisions",
    "clip_files": "curation_assets.clip_files.storing",
    "training_manifest": "curation_assets.training_set.manifest",
    "beautified_prompts": "curation_assets.beautified_prompts.beautifying",
}
SETTINGS = Settings(safety=Safety(engines=("opennsfw",)), watermark=Watermark(engines=("static_overlay",)))
WITHOUT_RESULT = {"curation_assets.settings", "resources.files", "resources.object_store", "resources.errors"}


def present() -> dict[str, dict[str, str]]:
    """Table -> its stage's version, and a hash of the code that computes it."""
    graph = grimp.build_graph("curation_assets", "resources", cache_dir=None)
    specs = {
        spec.key.to_user_string(): spec.code_version or ""
        for spec in build_definitions(SETTINGS, "unused").resolve_all_asset_specs()
    }
    found = {}
    for table, module in COMPUTED_BY.items():
        code = _code({module} | graph.find_upstream_modules(module))
        found[table] = {"version": specs[table].partition("-")[0], "code": code}
    return found


def _code(modules: set[str]) -> str:
    digest = hashlib.sha256()
    for module in sorted(modules - WITHOUT_RESULT):
        path = ROOT / (module.replace(".", "/") + ".py")
        if path.exists():
            digest.update(f"{module}\n{_normalised(path.read_text(encoding='utf-8'))}\n".encode())
            for data in sorted(path.parent.glob("*.json")):
                digest.update(data.read_bytes())
    return digest.hexdigest()[:16]


def _normalised(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(present(), indent=2) + "\n", encoding="utf-8")
