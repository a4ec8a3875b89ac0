from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app import media
from app.errors import Refused
from app.media.limits import MAX_BYTES
from app.media.probe import as_probe
from app.media.reading import read

PROBE = as_probe(
    read(
        [
            "Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'x':",
            "  Duration: 00:00:30.00, start: 0.000000, bitrate: 6058 kb/s",
            "  Stream #0:0: Video: h264 (High), yuv420p, 1920x1080 [SAR 1:1 DAR 16:9], 24 fps, 24 tbr",
        ]
    )
)
SMALL = {"width_px": 640, "height_px": 360, "coded_width_px": 640, "coded_height_px": 360}
SQUARE = {"width_px": 6000, "coded_width_px": 6000, "duration_s": 10.0}
WIDE = {"height_px": 1080, "coded_height_px": 1080, "duration_s": 10.0}


@pytest.mark.parametrize(
    ("at_limit", "past_limit", "code"),
    [
        (SMALL | {"duration_s": 3600.0}, SMALL | {"duration_s": 3600.5}, "too_long"),
        (WIDE | {"coded_width_px": 8192}, WIDE | {"coded_width_px": 8193}, "too_wide"),
        (WIDE | {"width_px": 8192}, WIDE | {"width_px": 8193}, "too_wide"),
        (SQUARE | {"height_px": 6666}, SQUARE | {"height_px": 6667}, "too_many_pixels"),
        (SQUARE | {"coded_height_px": 6666}, SQUARE | {"coded_height_px": 6667}, "too_many_pixels"),
        ({"fps": 120.0}, {"fps": 120.5}, "too_many_frames"),
        ({"streams": 8}, {"streams": 9}, "too_many_streams"),
        ({"duration_s": 3600.0, "fps": 60.0}, {"duration_s": 3600.0, "fps": 67.0}, "too_much_work"),
    ],
)
def test_each_limit_holds_at_its_number_and_just_past_it(
    at_limit: dict[str, Any], past_limit: dict[str, Any], code: str
) -> None:
    media.check(replace(PROBE, **at_limit), 1000)
    with pytest.raises(Refused) as refused:
        media.check(replace(PROBE, **past_limit), 1000)
    assert refused.value.code == code


def test_four_gibibytes_are_taken_and_one_byte_more_is_not() -> None:
    media.check(PROBE, MAX_BYTES)
    with pytest.raises(Refused) as refused:
        media.check(PROBE, MAX_BYTES + 1)
    assert (refused.value.code, refused.value.status) == ("too_many_bytes", 413)
