"""Every video of the golden set, made for a platform and looked at: size, rate, colours, and sound at its moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app import media
from app.errors import Refused
from app.media import encode, profiles
from app.media.encode import Sources
from app.media.grid import Span
from app.media.join import Pieces
from app.media.plan import Plan, plan
from tests.media.clips import branded
from tests.media.eyes import Looked, look, numbers
from tests.media.golden import ENTERED, GOLDEN, Odd

pytestmark = pytest.mark.anyio

# Something to draw that no eye of these tests falls on: white on white, in the lower right corner.
DRAWN = media.Design(title=media.Title("i", position="bottomright", size_percent=2))
# Where sound may stand beside its moment: half of what people begin to notice (ITU-R BT.1359-1: 45 ms early).
BEAT_S = 0.022


def _cases() -> list[object]:
    cases: list[object] = []
    for odd in GOLDEN:
        marks = [pytest.mark.storm] if odd.storm else []
        cases.append(pytest.param(odd, True, id=f"{odd.name}, drawn on", marks=marks))
        if odd.copied and odd.refused is None:
            cases.append(pytest.param(odd, False, id=f"{odd.name}, as it is", marks=[pytest.mark.storm]))
    return cases


@pytest.mark.parametrize(("odd", "drawn"), _cases())
async def test_an_odd_video_comes_out_as_it_should(
    odd: Odd, drawn: bool, folder: Path, tmp_path: Path
) -> None:
    source = odd.make(tmp_path)
    if odd.refused:
        with pytest.raises(Refused) as refused:
            await media.probe(source)
        assert refused.value.code == odd.refused
        assert "sound only" in refused.value.message or "MPG" in refused.value.message
        return
    media.check(await media.probe(source), source.stat().st_size)
    made = await branded(source, DRAWN if drawn else media.Design(), folder)
    seen = look(made.path, tmp_path, sound=made.probe.has_audio)
    _note(odd, made, seen)
    assert made.reencoded == drawn
    wrong = (
        _of_the_platform(made, profiles.TIKTOK)
        + _of_the_file(odd, made)
        + _of_the_picture(odd, made, seen)
        + _of_the_sound(odd, made, seen)
    )
    assert wrong == []


# The hardest to please of each kind.
HARD = ("plain", "PAL with wide pixels", "turned by 90", "very wide", "HDR, PQ", "120 frames a second", "7.1, 96 kHz",
        "1 frame a second", "uneven, as from a phone")  # fmt: skip


@pytest.mark.storm
@pytest.mark.parametrize("platform", list(profiles.PROFILES))
@pytest.mark.parametrize("name", HARD)
async def test_an_odd_video_is_made_so_that_each_platform_takes_it(
    name: str, platform: str, folder: Path, tmp_path: Path
) -> None:
    odd, profile = next(odd for odd in GOLDEN if odd.name == name), profiles.PROFILES[platform]
    source = odd.make(tmp_path)
    probe = await media.probe(source)
    design = profiles.shaped(media.Design(), probe.width_px, probe.height_px, profile)
    made = await media.brand(source, design, logo=None, into=folder, probe=probe, profile=profile)
    assert _of_the_platform(made, profile) == []


@pytest.mark.storm
@pytest.mark.parametrize("name", list(ENTERED))
async def test_a_source_that_is_hard_to_enter_gives_the_same_pictures_in_pieces(
    name: str, tmp_path: Path
) -> None:
    source = ENTERED[name](tmp_path)
    todo = plan(await media.probe(source), media.Design(), media.TIKTOK, formats=("hls",))
    spans = todo.grid.spans()
    assert len(spans) >= 2
    whole = await _numbers_of(todo, source, [spans], tmp_path / "whole")
    pieces = await _numbers_of(todo, source, [[span] for span in spans], tmp_path / "pieces")
    assert len(whole) > 5 * float(todo.rate)
    # All 210 numbers and no standstill: else it would be easy to be the same.
    assert len(set(whole)) > 100
    differing = [
        (at, one, other) for at, (one, other) in enumerate(zip(whole, pieces, strict=False)) if one != other
    ]
    assert (differing[:9], len(pieces)) == ([], len(whole))


async def _numbers_of(todo: Plan, source: Path, pieces: list[Sequence[Span]], folder: Path) -> list[int]:
    """The numbers that the pictures tell, made in so many runs."""
    told: list[int] = []
    for at, spans in enumerate(pieces):
        into = folder / f"run-{at}"
        into.mkdir(parents=True)
        taken = Pieces(into)
        await encode.picture(
            todo, Sources(source), spans, into=into, rungs=["v0"], on_segment=taken.segment, inits=taken.init
        )
        told += numbers(taken.path("v0"))
    return told


def _of_the_platform(made: media.Branded, profile: profiles.Profile) -> list[str]:
    """What the platform would not take, but for the length: clips of the golden set are short."""
    long_enough = replace(made.probe, duration_s=max(made.probe.duration_s, profile.min_s))
    return profiles.check(long_enough, made.bytes, profile)


def _of_the_file(odd: Odd, made: media.Branded) -> list[str]:
    """What does not fit in what the file says of itself."""
    probe, wrong = made.probe, []
    if (probe.width_px, probe.height_px) != odd.size or probe.rotation:
        wrong.append(f"size {probe.width_px}x{probe.height_px}, rotation {probe.rotation}")
    if (probe.video_codec, probe.pixel_format) != ("h264", "yuv420p") or probe.hdr or probe.interlaced:
        wrong.append(
            f"{probe.video_codec} {probe.pixel_format} hdr={probe.hdr} interlaced={probe.interlaced}"
        )
    if probe.channels != odd.channels or (odd.channels and probe.audio_codec != "aac"):
        wrong.append(f"{probe.channels} channels of {probe.audio_codec}")
    return wrong


def _of_the_picture(odd: Odd, made: media.Branded, seen: Looked) -> list[str]:
    fps = odd.fps or made.probe.fps or 30.0
    frame_s, wrong = 1 / fps, []
    if abs(seen.frames - odd.seconds * fps) > odd.frame_slack + odd.second_slack * fps:
        wrong.append(f"{seen.frames} frames")
    if seen.frames > 3 and abs(seen.fps - fps) > 0.02 * fps:
        wrong.append(f"{seen.fps:.2f} frames a second")
    if seen.uneven_steps:
        wrong.append(f"{seen.uneven_steps} uneven steps")
    if abs(made.probe.duration_s - odd.seconds) > frame_s + 0.03 + odd.second_slack:
        wrong.append(f"lasts {made.probe.duration_s} s")
    for place, (got, wanted) in enumerate(zip(seen.corners, odd.corners, strict=False)):
        if max(abs(a - b) for a, b in zip(got, wanted, strict=True)) > odd.colour_slack:
            wrong.append(f"corner {place} is {got}, not {wanted}")
    if odd.flash_s is not None and (
        seen.flash_s is None or abs(seen.flash_s - odd.flash_s) > frame_s + 0.002
    ):
        wrong.append(f"white at {seen.flash_s}")
    return wrong


def _of_the_sound(odd: Odd, made: media.Branded, seen: Looked) -> list[str]:
    if odd.beep_s is None or not odd.channels:
        return []
    if seen.beep_s is None or abs(seen.beep_s - odd.beep_s) > BEAT_S:
        return [f"tone at {seen.beep_s}"]
    if abs(seen.tone_hz - odd.tone_hz) > 0.03 * odd.tone_hz:
        return [f"tone of {seen.tone_hz:.0f} Hz"]
    return []


def _note(odd: Odd, made: media.Branded, seen: Looked) -> None:
    """One line of the table of results, kept where GOLDEN_TABLE says."""
    if not (path := os.environ.get("GOLDEN_TABLE")):
        return
    probe = made.probe
    offset = (
        f"{1000 * ((seen.beep_s - odd.beep_s) - (seen.flash_s - odd.flash_s)):+.0f}"
        if None not in (seen.beep_s, odd.beep_s, seen.flash_s, odd.flash_s)
        else "-"
    )
    how = "made" if made.reencoded else "copied"
    with Path(path).open("a") as table:
        table.write(
            f"| {odd.name} | {how} | {probe.width_px}x{probe.height_px} | {seen.fps:.2f} | {seen.frames} "
            f"| {probe.duration_s:.2f} | {probe.channels} | {offset} | {made.run.cpu_s:.2f} |\n"
        )
