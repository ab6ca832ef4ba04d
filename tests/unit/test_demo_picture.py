from datetime import UTC, datetime, timedelta

import numpy as np

from streamarchive.demo.picture import HEIGHT, WIDTH, Picture, read_strip, unix_ms

NOW = datetime(2026, 11, 23, 9, 41, 7, 345_000, UTC)


def luma(frame):
    return np.frombuffer(frame, np.uint8)[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)


def test_the_strip_tells_the_time_of_the_frame():
    picture = Picture()
    for step in range(5):
        now = NOW + timedelta(milliseconds=100 * step)
        assert read_strip(luma(picture.frame(now, {}))) == unix_ms(now) % 2**32


def test_the_strip_can_be_read_at_half_size():
    assert read_strip(luma(Picture().frame(NOW, {}))[::2, ::2]) == unix_ms(NOW) % 2**32


def test_no_time_is_read_from_another_picture():
    assert read_strip(np.zeros((HEIGHT, WIDTH), np.uint8)) is None
    assert read_strip(np.full((HEIGHT, WIDTH), 255, np.uint8)) is None


def test_the_figure_that_speaks_lights_up_and_the_other_rests():
    picture = Picture()
    quiet, speaking = luma(picture.frame(NOW, {})), luma(picture.frame(NOW, {"guest": 0.8}))
    changed = quiet != speaking
    assert changed[:, WIDTH // 2 :].any()
    assert not changed[:, : WIDTH // 2].any()


def test_a_frame_has_the_size_of_its_format():
    assert len(Picture().frame(NOW, {"host": 1.0})) == WIDTH * HEIGHT * 3 // 2
