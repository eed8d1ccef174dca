"""Old rows are reused by version, so code must not change under a version unnoticed."""

import json

import pytest

from tests.stage_versions import COMPUTED_BY, RECORD, present

PRESENT = present()


@pytest.mark.parametrize("table", COMPUTED_BY)
def test_changed_code_has_a_new_version_or_is_confirmed(table: str) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))[table]
    assert PRESENT[table] == recorded, (
        f"the code that computes {table} changed. If a result can change, raise `version` of its stage in assets.py; "
        "then, or if none can, run `python -m tests.stage_versions`"
    )
