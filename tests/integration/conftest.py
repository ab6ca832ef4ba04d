"""What many of the tests here begin with."""

import pytest

from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.onair import on_air
from tests.truth import make_pieces


@pytest.fixture
async def services(tmp_path):
    """An empty archive on this machine."""
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield opened


@pytest.fixture
async def air(tmp_path):
    """A stream on air, over HLS and as an endless response."""
    async with on_air(tmp_path / "air") as stream:
        yield stream


@pytest.fixture(scope="session")
def pieces(tmp_path_factory):
    """Five minutes of a source that knows each of its pictures."""
    return make_pieces(tmp_path_factory.mktemp("truth") / "pieces", 300)
