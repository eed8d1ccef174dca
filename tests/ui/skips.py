"""What a machine may lack for a test."""

import pytest

from tests.ui.browser import chromium

needs_chromium = pytest.mark.skipif(
    chromium() is None, reason="NO CHROMIUM: nobody looked. On Debian: apt-get install chromium"
)
