"""What counts as a model's JSON answer."""

import pytest

from resources.chat import parse_json_answer

KEY = "rewritten description"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('{"rewritten description": "A red car."}', "A red car."),
        ('```json\n{"rewritten description": "A red car."}\n```', "A red car."),
        ('Sure! Here it is:\n{"rewritten description": "A red car."} Anything else?', "A red car."),
        ('{"rewritten description":"A red car."}', "A red car."),
        ('{"rewritten description": "A red car.",}', "A red car."),
        ('{"rewritten description": "A car, red, }, parked."}', "A car, red, }, parked."),
        ('{"rewritten description": "A sign {open} on a door."}', "A sign {open} on a door."),
        (r'{"rewritten description": "A sign says \"open\"."}', 'A sign says "open".'),
        (r'{"rewritten description": "A caf\u00e9."}', "A café."),
        ('{"rewritten description": "A red\n\tcar\x07."}', "A red car ."),
        ('{draft} {"rewritten description": "A red car."}', "A red car."),
        ('{"note": "x", "rewritten description": "A red car."}', "A red car."),
        ('{"rewritten description" : \n "A red car."\n,\n}', "A red car."),
        (r'{"rewritten description": "A \\ and a \/.\nA line."}', "A \\ and a /. A line."),
        ('{"rewritten description": "A sign says "open" on a door."}', 'A sign says "open" on a door.'),
        ('```\n{"rewritten description": "A sign says "open"",}\n```', 'A sign says "open"'),
        ('{"rewritten description": "A "red" car."} {"rewritten description": "A b', 'A "red" car.'),
        ("{'rewritten description': 'A dog's bowl.'}", "A dog's bowl."),
        ("{'rewritten description': 'A \"red\" dog\\'s bowl.'} Is that all?", 'A "red" dog\'s bowl.'),
    ],
)
def test_what_models_add_around_an_answer_is_taken_off(answer: str, text: str) -> None:
    assert parse_json_answer(answer, KEY) == text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "no complete JSON object"),
        ("A red car.", "no complete JSON object"),
        ('{"rewritten description": "}', "no complete JSON object"),
        ('{"rewritten description": "A red car, cut o', "no complete JSON object"),
        ('{"rewritten description": "A sign says "open', "no complete JSON object"),
        ('{"rewritten description": "A sign says "open" and', "no complete JSON object"),
        ('{"rewritten description": "A "red" car.", "note": "x"}', "no complete JSON object"),
        ("{'rewritten description': '}", "no complete JSON object"),
        ("{'rewritten description': ''}", "is empty"),
        ('{"rewritten description": "A bad \\x escape."}', "no complete JSON object"),
        ('{"rewritten description": ""}', "is empty"),
        ('{"rewritten description": " \\n "}', "is empty"),
        ('{"description": "A red car."}', "no key 'rewritten description'"),
        ('{"rewritten description": ["A red car."]}', "is no string"),
        ("{" * 100_000, "no complete JSON object"),
        ('{"rewritten description": "' * 5000, "no complete JSON object"),
    ],
)
def test_an_unusable_answer_is_refused_with_the_reason(answer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json_answer(answer, KEY)
