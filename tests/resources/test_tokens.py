"""How many tokens a caption has, counted and estimated."""

from pathlib import Path

import pytest

from resources.errors import EngineUnavailable
from resources.packages import package_file
from resources.sentence_encoder import PACKAGE
from resources.tokens import estimated_tokens, token_counter, tokenizer_revision


@pytest.mark.parametrize(
    ("text", "fewest", "most"),
    [  # what BERT's WordPiece and others make of it, give or take
        ("", 0, 1),
        ("A young woman with long, curly hair walks along a cobblestone street at dusk.", 14, 18),
        ("Two football players wearing red-and-white jerseys celebrate after scoring.", 13, 17),
        ("一只猫坐在窗台上，看着外面的雨。", 14, 18),
        ("Кошка сидит на подоконнике и смотрит на дождь.", 12, 38),
        ("4K, 3840x2160", 8, 14),
    ],
)
def test_token_estimates_are_near_real_tokenizers(text, fewest, most):
    assert fewest <= estimated_tokens(text) <= most


def test_a_tokenizer_counts_to_the_token_and_cuts_nothing_off() -> None:
    folder = package_file(PACKAGE, "tokenizer.json").parent
    count = token_counter(str(folder))
    assert count("a cat") == 4  # and two markers
    assert count("cat " * 1000) == 1002
    assert len(tokenizer_revision(str(folder))["revision"]) == 8
    assert token_counter(None) is estimated_tokens


def test_a_tokenizer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"holds no tokenizer\.json .* training_set\.trainer\.tokenizer"):
        token_counter(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineUnavailable, match=r"holds no tokenizer\.json that can be read"):
        token_counter(str(tmp_path))
