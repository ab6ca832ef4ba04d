from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamarchive.media import commands, sandbox
from streamarchive.media.process import FfmpegProcess, leash
from tests.media import make
from tests.waiting import until, until_async

ENDLESS = ["-re", "-f", "lavfi", "-i", "sine=440", "-f", "null", "-"]
TALKATIVE = ["-re", "-f", "lavfi", "-i", "sine=440", "-c:a", "pcm_s16le", "-f", "framecrc", "pipe:1"]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def is_busy(pid: int) -> bool:
    """Whether it is ffmpeg by now, and not only starting."""
    name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return "ffmpeg" in name and int(rest.split()[11]) > 10


async def test_leaving_the_block_ends_the_process():
    async with await FfmpegProcess.start(ENDLESS) as process:
        assert is_running(process.pid)
    assert not is_running(process.pid)
    assert process.returncode is not None


async def test_an_error_in_the_block_ends_the_process_though_nobody_reads_it():
    with pytest.raises(RuntimeError):
        async with await FfmpegProcess.start(["-f", "lavfi", "-i", "testsrc2", "-f", "framecrc", "-"]) as process:
            raise RuntimeError
    assert not is_running(process.pid)


async def test_a_stop_is_heard():
    async with await FfmpegProcess.start(TALKATIVE) as process:
        lines = process.lines()
        assert await anext(lines)
        reader = asyncio.create_task(_drain(lines))
        await process.stop(patience=10)
        assert await reader > 0
    assert process.returncode != -signal.SIGKILL


async def _drain(lines) -> int:
    return len([line async for line in lines])


async def test_a_process_that_hears_nothing_is_killed():
    async with await FfmpegProcess.start(ENDLESS) as process:
        await until_async(lambda: _stopped(process.pid), "ffmpeg to be suspended")
        await process.stop(patience=0.1)
    assert process.returncode == -signal.SIGKILL


async def _stopped(pid: int) -> bool:
    os.kill(pid, signal.SIGSTOP)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_the_last_message_is_kept(tmp_path):
    async with await FfmpegProcess.start(
        ["-i", "file:" + str(tmp_path / "missing.ts"), "-f", "null", "-"]
    ) as process:
        assert await process.wait() != 0
    assert "No such file" in process.complaint


async def test_a_line_of_a_playlist_that_ffmpeg_skips_is_no_complaint(tmp_path):
    make(tmp_path / "a.ts", 1)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n"
    )
    arguments = ["-v", "info", "-i", str(playlist), "-c", "copy", "-f", "null", "-"]
    async with await FfmpegProcess.start(arguments) as process:
        assert await process.wait() == 0
    assert any("Skip ('#EXT-X-DISCONTINUITY-SEQUENCE" in line for line in process.messages)
    assert process.complaint == ""


PARENT = """
import asyncio, sys, threading
from streamarchive.media import sandbox
from streamarchive.media.process import FfmpegProcess

async def main():
    for _ in range(24):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    arguments = ["-f", "lavfi", "-i", "sine=440:r=48000", "-af", "aresample=16000:async=1", "-f", "null", "-"]
    for _ in range(12):
        process = (await sandbox.start(arguments, sandbox.DECODE) if sys.argv[1] == "caged"
                   else await FfmpegProcess.start(arguments))
        print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["free", "caged"])
async def test_no_ffmpeg_outlives_a_parent_that_is_killed(how):
    """Not one of many, busy with their memory, when a process with threads dies thread by thread."""
    if not leash():
        pytest.skip("there is no setpriv here")
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, how, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    pids = [int(await parent.stdout.readline()) for _ in range(12)]
    await asyncio.to_thread(until, lambda: all(is_busy(pid) for pid in pids), "ffmpeg at work in its cage")
    parent.kill()
    await parent.wait()

    async def ended() -> bool:
        return not any(is_running(pid) for pid in pids)

    await until_async(ended, "ffmpeg to end with its parent")


def test_the_leash_is_one_that_no_program_can_mishear():
    if not leash():
        pytest.skip("there is no setpriv here")
    ask = (
        "import ctypes; signal = ctypes.c_int(); "
        "ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0); print(signal.value)"
    )
    answer = subprocess.run([*leash(), sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert int(answer.stdout) == signal.SIGKILL


async def test_a_caged_ffmpeg_has_no_network(tmp_path):
    """Whatever else it is told: here even the whitelists are left out."""
    if "unshare -rn" in " ".join(sandbox.missing()):
        pytest.skip("unshare is forbidden here")
    asked = asyncio.Event()

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        arguments = ["-i", f"http://127.0.0.1:{port}/x.ts", "-f", "null", "-"]
        async with await sandbox.start(arguments, sandbox.PROBE) as process:
            assert await process.wait() != 0
        assert not asked.is_set()
        async with await FfmpegProcess.start(arguments) as process:
            await process.wait()
        assert asked.is_set(), "without the cage it would have been reached"


async def test_a_caged_ffmpeg_writes_no_longer_file_than_it_may(tmp_path):
    limits = sandbox.Limits(file_bytes=100_000)
    arguments = ["-f", "lavfi", "-i", "anoisesrc=d=60", "-c:a", "pcm_s16le", "big.wav"]
    async with await sandbox.start(arguments, limits, cwd=tmp_path) as process:
        assert await process.wait() != 0
    assert (tmp_path / "big.wav").stat().st_size <= 100_000


async def test_sound_is_decoded_in_the_cage(tmp_path):
    file = make(tmp_path / "a b'%d.mp4", 2)
    async with await sandbox.start(commands.pcm(file), sandbox.DECODE) as process:
        samples = await process.stdout.read()
        assert await process.wait() == 0
    assert abs(len(samples) / 64_000 - 2) < 0.1
