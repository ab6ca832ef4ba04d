"""kill -9 of ffmpeg, of the recorder and of both: counted picture by picture what is lost."""

from __future__ import annotations

import random

from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.crashes import Crashes, random_kills
from tests.truth import broadcast

SEED = 5


async def record_and_kill(settings, pieces, kills, way):
    # What is listed is listed long enough for a Python that starts on a busy machine.
    async with open_services(settings) as services, broadcast(pieces, window=60) as truth:
        crashes = Crashes(services, truth)
        try:
            await crashes.begin(getattr(truth, way))
            await random_kills(crashes, kills, random.Random(SEED))
            await crashes.finish()
        finally:
            await crashes.close()
        return await crashes.check()


async def test_ten_kills_cost_no_more_than_the_restart_and_a_second_each(tmp_path, pieces):
    """A source that sends nothing again, beyond the last key frame."""
    costs = await record_and_kill(Settings(data_dir=tmp_path / "archive"), pieces, 10, "endless")
    assert len(costs) == 10
    assert max(cost.beyond for cost in costs) <= 1.0, costs


async def test_what_the_server_still_lists_makes_a_kill_cost_nothing(tmp_path, pieces):
    costs = await record_and_kill(Settings(data_dir=tmp_path / "archive"), pieces, 4, "hls")
    assert [cost.lost for cost in costs] == [0.0] * 4


async def test_kills_on_postgresql(tmp_path, pieces, postgresql_database):
    settings = Settings(data_dir=tmp_path / "archive", database=postgresql_database)
    costs = await record_and_kill(settings, pieces, 3, "hls")
    assert [cost.lost for cost in costs] == [0.0] * 3
