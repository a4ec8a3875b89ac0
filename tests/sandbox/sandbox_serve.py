"""A simulated world under a real uvicorn, mounted on /sandbox as the product mounts it.

Run as a program it serves the folder given until it is killed: `python serve.py HOME PORT`. The clock is the real
one plus the seconds written in HOME/clock, so a test moves time without waiting.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from app import sandbox

STREAM = re.compile(r"Video: (\w+).*?, (\d{2,5})x(\d{2,5}).*?, ([\d.]+) fps")
LENGTH = re.compile(r"Duration: (\d+):(\d+):([\d.]+)")
CONTAINER = re.compile(r"Input #0, ([\w,]+), from")


async def probe(path: Path) -> dict[str, Any] | None:
    ffmpeg = await asyncio.create_subprocess_exec(
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-i", f"file:{path}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await ffmpeg.communicate()
    text = said.decode(errors="replace")
    stream, length, container = STREAM.search(text), LENGTH.search(text), CONTAINER.search(text)
    if not (stream and length and container):
        return None
    return {
        "container": container[1],
        "video_codec": stream[1],
        "width_px": int(stream[2]),
        "height_px": int(stream[3]),
        "fps": float(stream[4]),
        "duration_s": int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]),
    }


def server(home: Path, port: int, settings: sandbox.Settings | None = None) -> uvicorn.Server:
    def clock() -> float:
        moved = home / "clock"
        return time.time() + (float(moved.read_text()) if moved.exists() else 0.0)

    world = sandbox.create(home, f"http://127.0.0.1:{port}", probe, clock=clock, settings=settings)
    app = Starlette(routes=[Mount("/sandbox", app=world)])
    return uvicorn.Server(
        uvicorn.Config(app, port=port, log_level="critical", access_log=False, lifespan="off")
    )


async def close(stopped: uvicorn.Server) -> None:
    """Let go of the world's file once its server has stopped."""
    app = stopped.config.app
    assert isinstance(app, Starlette)
    for mount in app.routes:
        if isinstance(mount, Mount) and isinstance(mount.app, Starlette):
            await mount.app.state.world.close()


if __name__ == "__main__":
    server(Path(sys.argv[1]), int(sys.argv[2])).run()
