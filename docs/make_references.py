"""Makes docs/tables.md, docs/settings.md and docs/recipes.md: `python -m docs.make_references [HOME]`, in the root.

What a recipe prints is of HOME, by default the demo's; where there is none, the output that the page has stays.
"""

import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from curation_assets.definitions import build_definitions, stage_assets
from curation_assets.field_help import REQUIRED, FieldHelp, field_help, plain
from curation_assets.settings import Crop, Duplicates, Safety, Section, Settings, Watermark
from curation_assets.tables import BOOKKEEPING, TABLES, Column, Table

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
DEMO_HOME = ".reelhouse-demo"
MADE_BY = "<!-- made by `python -m docs.make_references`; change the code instead -->"
OUTPUT = re.compile(
    r"^    \.venv/bin/python examples/(\w+)\.py [^\n]*\n\n```text\n(.*?)```\n", re.MULTILINE | re.DOTALL
)


def pages(outputs: Mapping[str, str]) -> dict[Path, str]:
    """The text of each page; `outputs`: what each recipe prints."""
    return {
        DOCS / "tables.md": tables_page(),
        DOCS / "settings.md": settings_page(),
        DOCS / "recipes.md": recipes_page(outputs),
    }


def tables_page() -> str:
    """Every table and column, and what it is made from."""
    settings = Settings(
        crop=Crop(borders=True),
        safety=Safety(engines=("opennsfw",)),
        watermark=Watermark(engines=("static_overlay",)),
        duplicates=Duplicates(kinds=("exact", "perceptual")),
    )
    specs = {
        spec.key.to_user_string(): spec
        for spec in build_definitions(settings, "unused").resolve_all_asset_specs()
    }  # fmt: skip
    assets = stage_assets(settings)
    reads = {stage.table.name: stage.reads for asset in assets for stage in asset.stages}
    made_from = {
        name: reads.get(name) or [dep.asset_key.to_user_string() for dep in specs[name].deps] for name in TABLES
    }
    parts = [
        "# Tables",
        MADE_BY,
        "Every table of a home, each a Delta table of its name below `tables/`, and what its columns hold. In Python "
        "`open_tables(HOME).columns(TABLE)` gives the same; [recipes](recipes.md) ask them. What a table is made "
        "from is given for the default settings with `crop`, `safety`, `watermark` and `duplicates` on: engines that "
        "are off are not read.",
        _grid(
            ("table", "one row is", "key", "made from"),
            ((_link(name), table.row_is, _codes(table.key), _codes(made_from[name])) for name, table in TABLES.items()),
        ),
        "## In every table",
        "Bookkeeping may differ between two runs over the same input: nothing is computed again because of it.",
        _columns(BOOKKEEPING),
    ]
    for name, table in TABLES.items():
        what_it_does = (specs[name].description or "").partition("\n\n")[2]
        parts += [f"## {name}", f"One row is {table.row_is}. {' '.join(what_it_does.split())}"]
        if name in reads:
            parts.append(
                "Made from " + "; ".join(f"{_link(of)}: {_codes(read)}" for of, read in reads[name].items()) + "."
            )
        parts.append(_columns(table.stage_columns, table))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def settings_page() -> str:
    """Every setting; what stands in several places is described once, as a part."""
    settings = Settings()
    helped = {field.key: field for field in field_help(settings)}
    parts_of = _parts(settings, list(helped.values()))
    shown = [
        "# Settings",
        MADE_BY,
        "What a settings file may hold; it names only what differs from the defaults here. Keys marked * are of "
        "execution: they change speed or place of work, never a result. `.venv/bin/reelhouse settings` prints those in "
        "force and where each comes from.",
        "Sections: " + ", ".join(_link(name) for name in Settings.model_fields) + ", and [parts](#parts) of several.",
    ]
    for name, value in settings:
        shown.append(f"## {name}")
        if isinstance(value, Section):
            shown += _docstrings(value, name, parts_of)
            shown.append(_setting_rows(_rows(value, name, helped, parts_of)))
        else:
            shown.append(_setting_rows([_row(helped[name], parts_of)]))
    shown.append("## Parts")
    shown.append("What stands in several places. Where one has other defaults than here, its row above shows them.")
    for part in parts_of:
        required = dict.fromkeys(name for name, field in part.model_fields.items() if field.is_required())
        shown += [f"### {part.__name__}", *_docstring(part)]
        example = part.model_construct(None, **required)
        shown.append(_setting_rows(_rows(example, "", {field.key: field for field in field_help(example)}, parts_of)))
    return "\n\n".join(part.strip() for part in shown) + "\n"


def recipes_page(outputs: Mapping[str, str]) -> str:
    """The scripts in examples/, whole, each with what it prints."""
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py"))}
    questions = {
        name: " ".join(source.split('"""')[1].partition("\n\n")[0].split()) for name, source in sources.items()
    }
    parts = [
        "# Recipes",
        MADE_BY,
        "Questions to a home's tables, each a script to run, read and change. They write nothing, and may be asked "
        f"while a run goes on. What they print here is of the demo, `{DEMO_HOME}`.",
        _grid(("recipe", "question"), ((_link(name), question) for name, question in questions.items())),
        "All begin with `open_tables`:",
        "```python\nfrom curation_assets import open_tables\n\n"
        f't = open_tables("{DEMO_HOME}")  # or s3://bucket/home\n'
        'scores = t.scan("motion_scores", shards=["samples-0000"])  # a LazyFrame; only these shards\' files are read\n'
        'before = t.scan("motion_scores", version=1)  # or a datetime; t.versions("motion_scores") lists them\n'
        'released = t.release("latest").scan("training_manifest")  # every table as the release pinned it\n'
        'print(t.names, t.columns("motion_scores"))\n```',
    ]  # fmt: skip
    for name, source in sources.items():
        parts += [
            f"## {name}",
            f"```python\n{source}```",
            f"    .venv/bin/python examples/{name}.py {DEMO_HOME}",
            f"```text\n{outputs.get(name, '')}```",
        ]
    return "\n\n".join(parts) + "\n"


def outputs_in(page: Path) -> dict[str, str]:
    """What the recipes print, as the page has it."""
    return dict(OUTPUT.findall(page.read_text(encoding="utf-8"))) if page.exists() else {}


def outputs_of(home: str) -> dict[str, str]:
    """What the recipes print on a home."""

    def run(example: Path) -> str:
        return subprocess.run([sys.executable, example, home], capture_output=True, text=True, check=True).stdout

    return {example.stem: run(example) for example in EXAMPLES.glob("*.py")}


def _columns(columns: Mapping[str, Column], table: Table | None = None) -> str:
    def marks(name: str, column: Column) -> str:
        return ", ".join(["key"] * (table is not None and name in table.key) + ["bookkeeping"] * column.bookkeeping)

    return _grid(
        ("column", "type", "what it is", ""),
        (
            (f"`{name}`", _dtype(column.dtype), column.description.replace("<", r"\<"), marks(name, column))
            for name, column in columns.items()
        ),
    )


def _dtype(dtype: object) -> str:
    match dtype:
        case pl.Datetime():
            return "Datetime, UTC"
        case pl.List(inner=inner):
            return f"List of {_dtype(inner)}"
        case pl.Struct(fields=fields):
            return f"Struct of {', '.join(f'`{field.name}` {_dtype(field.dtype)}' for field in fields)}"
        case _:
            return str(dtype)


Parts = Sequence[type[Section]]


def _parts(settings: Settings, helped: Iterable[FieldHelp]) -> list[type[Section]]:
    """The sections that stand in several places, or in lists and mappings, in the order of their first place."""
    placed = Counter(_part(type(section)) for section in _sections(settings))
    named = {cls.__name__: cls for cls in _subclasses(Section)}
    inside = [named[word] for field in helped for word in re.findall(r"[A-Z]\w+?(?=s?\b)", field.type) if word in named]
    return list(dict.fromkeys([*inside, *(part for part, times in placed.items() if times > 1)]))


def _part(section: type[Section]) -> type[Section]:
    """The section, or the one it has all its fields from, with other defaults."""
    bases = [
        cls
        for cls in section.__mro__
        if issubclass(cls, Section) and cls.model_fields.keys() == section.model_fields.keys()
    ]
    return bases[-1]


def _sections(section: Section) -> Iterator[Section]:
    for _, value in section:
        if isinstance(value, Section):
            yield value
            yield from _sections(value)


def _subclasses(cls: type[Section]) -> Iterator[type[Section]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _rows(section: Section, key: str, helped: Mapping[str, FieldHelp], parts: Parts) -> Iterator[Sequence[str]]:
    for name, value in section:
        here = f"{key}.{name}" if key else name
        if not isinstance(value, Section):
            yield _row(helped[here], parts)
        elif not key and name in Settings.model_fields:
            yield f"`{here}`", "", f"as {_link(name)}", "", type(section).model_fields[name].description or ""
        elif (part := _part(type(value))) in parts:
            usual = {name: field.get_default() for name, field in part.model_fields.items()}
            other = {name: value for name, value in value if value != usual[name]}
            units = {helped[f"{here}.{name}"].unit for name in part.model_fields if name in ("min", "max")}
            about = type(section).model_fields[name].description or ""
            star = "*" * all(helped[f"{here}.{name}"].execution for name in part.model_fields)
            yield f"`{here}`{star}", _code(other) if other else "", _link(part.__name__), "".join(units), about
        else:
            yield from _rows(value, here, helped, parts)


def _row(field: FieldHelp, parts: Parts) -> Sequence[str]:
    default = REQUIRED if field.default == REQUIRED else _code(field.default)
    kind = f"{field.type}: {field.range}" if field.range and not field.range.startswith("matches") else field.type
    for part in parts:
        kind = re.sub(rf"\b{part.__name__}(?=s?\b)", _link(part.__name__), kind)
    return f"`{field.key}`{'*' * field.execution}", default, kind, field.unit, field.description


def _setting_rows(rows: Iterable[Sequence[str]]) -> str:
    return _grid(("key", "default", "type and range", "unit", "what it is"), rows)


def _docstrings(section: Section, key: str, parts: Parts, nested: bool = False) -> Iterator[str]:
    """Of the section and of those within it that are no parts: they say where defaults come from."""
    for text in _docstring(type(section)):
        yield f"`{key}`: {text}" if nested else text
    for name, value in section:
        if isinstance(value, Section) and _part(type(value)) not in parts:
            yield from _docstrings(value, f"{key}.{name}", parts, nested=True)


def _docstring(cls: type[Section]) -> list[str]:
    return [" ".join((inspect.cleandoc(cls.__doc__)).split())] if cls.__doc__ else []


def _grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in (headings, ["---"] * len(headings), *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def _link(heading: str) -> str:
    return f"[{heading}](#{heading.lower()})"


def _code(value: object) -> str:
    return f"`{plain(value)}`"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(home: str = DEMO_HOME) -> None:
    outputs = outputs_of(home) if Path(home).exists() else outputs_in(DOCS / "recipes.md")
    for page, text in pages(outputs).items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
