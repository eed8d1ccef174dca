"""What can be told of the samples' captions without reading them: lengths, words, phrases, repetition, rewriting."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import polars as pl

from curation_assets.report.histogram import histogram
from curation_assets.report.sampling import sample
from curation_assets.upkeep.releases import TablesAt
from resources.text import one_line

WORD = r"\p{Han}|[\p{L}\p{N}][\p{L}\p{N}\p{M}'’]*"  # each Chinese character counts as a word
READ_CAPTIONS = 20_000  # of which words and phrases are counted
READ_CHARACTERS = 4_000
LISTED = 25
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
SHOWN_CHARACTERS = 200
# Function words of English, which would fill the list of any text.
STOP_WORDS = re.compile(
    "an?|and|are|as|at|be|been|but|by|for|from|has|have|he|her|his|in|into|is|it|its|of|on|or|over|she|that|the|their|"
    "them|there|they|this|through|to|under|up|was|were|what|which|while|who|with"
)

Facts = dict[str, Any]


def caption_facts(tables: TablesAt, samples: pl.DataFrame) -> Facts:
    """`samples` are rows of `training_manifest`: clip_id, text, original_caption, caption_tokens, warnings."""
    words = samples.select(
        after=pl.col("text").str.count_matches(WORD), before=pl.col("original_caption").str.count_matches(WORD)
    )
    rewritten = tables.read("rewritten_captions", ["status", "similarity", "error"])
    too_long = pl.col("warnings").list.eval(pl.element().str.contains("tokens")).list.any()
    similarity = rewritten["similarity"].drop_nulls().to_numpy()
    return {
        "count": samples.height,
        "words": _lengths(words["after"]),
        "words_before": _lengths(words["before"]),
        "word_histogram": histogram({name: words[name].drop_nulls().to_numpy() for name in ("before", "after")}),
        "tokens": _lengths(samples["caption_tokens"]),
        "over_limit": samples.filter(too_long).height,
        "changed": samples.filter(pl.col("text") != pl.col("original_caption")).height,
        "similarity_histogram": histogram({"similarity": similarity}) if similarity.size else None,
        "similarity": _lengths(pl.Series(similarity)),
        "captioning": _outcomes(tables.read("captions", ["status", "error"])),
        "rewriting": _outcomes(rewritten),
        **_repeated(samples),
        **_phrases(samples["text"]),
    }


def _lengths(values: pl.Series) -> list[float | None]:
    """At QUANTILES."""
    return [None if (value := values.quantile(q, "nearest")) is None else float(value) for q in QUANTILES]


def _outcomes(rows: pl.DataFrame) -> list[tuple[str, int]]:
    status = pl.when(pl.col("error").is_not_null()).then(pl.lit("failed")).otherwise("status")
    counts = rows.group_by(status.fill_null("none").alias("status")).len("count")
    return counts.sort("count", "status", descending=[True, False]).rows()


def _repeated(samples: pl.DataFrame) -> Facts:
    """Captions that several samples share, word for word."""
    groups = samples.group_by("text").agg(pl.len().alias("count"), pl.col("clip_id").min()).filter(pl.col("count") > 1)
    most = groups.sort("count", "clip_id", descending=[True, False]).head(LISTED)
    return {
        "repeated": int(groups["count"].sum()),
        "distinct": samples["text"].n_unique(),
        "most_repeated": [(one_line(text, SHOWN_CHARACTERS), count, clip) for text, count, clip in most.rows()],
    }


def _phrases(texts: pl.Series) -> Facts:
    """The commonest words, phrases and openings that captions share, with how many hold each."""
    chosen = texts.gather(sample(texts.len(), READ_CAPTIONS))
    listed = chosen.str.slice(0, READ_CHARACTERS).str.to_lowercase().str.extract_all(WORD)
    found = {name: Counter[str]() for name in ("words", "pairs", "triples", "openings")}
    for words in map(pl.Series.to_list, listed):
        found["words"].update({word for word in words if not STOP_WORDS.fullmatch(word)})
        found["pairs"].update({" ".join(two) for two in pairwise(words)})
        found["triples"].update({" ".join(three) for three in zip(words, words[1:], words[2:], strict=False)})
        found["openings"][" ".join(words[:4])] += 1
    return {"read": chosen.len(), "common": {name: _commonest(counts) for name, counts in found.items()}}


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    shared = sorted((-count, words) for words, count in counts.items() if count > 1)
    return [(one_line(words, SHOWN_CHARACTERS), -count) for count, words in shared[:LISTED]]
