"""Growing files cut into fragments: what is whole is handed out, what is broken refused, what is moved still plays."""

from __future__ import annotations

import random
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from app import media
from app.errors import Retryable
from app.media.cmaf import MOST_FRAGMENT_BYTES, Fragment, Growing, moved, patched, read_init
from tests.media.clips import FAST, ffmpeg

FRAGMENTED = "+cmaf+empty_moov+frag_keyframe+default_base_moof"
PICTURE = ("-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-video_track_timescale", "15360")
SOUND_EDGES = "aresample=48000:async=1000:first_pts=0,aformat=channel_layouts=stereo,atrim=start_pts=1024"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture of 2.5 groups, one with B-frames, and a sound, as the house lets ffmpeg write them."""
    folder = tmp_path_factory.mktemp("growing")
    files = {name: folder / f"{name}.mp4" for name in ("picture", "b_frames", "sound")}
    drawn = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=5")
    flags = ("-movflags", FRAGMENTED + "+negative_cts_offsets", "-f", "mp4")
    ffmpeg(*drawn, *FAST, *PICTURE, *flags, files["picture"])
    ffmpeg(*drawn, *FAST, "-bf", "2", *PICTURE, *flags, files["b_frames"])
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=5", "-af", SOUND_EDGES, "-c:a", "aac"),
        *("-movflags", FRAGMENTED, "-frag_duration", "2000000", "-f", "mp4", files["sound"]),
    )
    return files


def pictures_of(path: Path) -> list[str]:
    """Time and checksum of every picture."""
    lines = ffmpeg("-copyts", "-i", path, "-map", "0:v", "-f", "framemd5", "-").decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def rebuilt(path: Path, into: Path, *, from_ticks: int) -> Path:
    """The same file with every fragment moved to begin at this time."""
    growing = Growing(path)
    fragments = growing.take()
    parts = [
        patched(fragment, sequence=number + 7, base_ticks=from_ticks + fragment.base_ticks)
        for number, fragment in enumerate(fragments)
    ]
    assert growing.init is not None
    into.write_bytes(growing.init + b"".join(parts))
    return into


@pytest.mark.parametrize("name", ["picture", "b_frames"])
def test_every_group_of_pictures_is_a_fragment_that_begins_with_a_key_frame(
    made: dict[str, Path], name: str
) -> None:
    growing = Growing(made[name])
    found = growing.take()
    growing.check_ended()
    assert [fragment.samples for fragment in found] == [60, 60, 30]
    assert [fragment.ticks for fragment in found] == [30720, 30720, 15360]
    assert [fragment.base_ticks for fragment in found] == [0, 30720, 61440]
    assert all(fragment.key for fragment in found)
    assert growing.take() == []


def test_a_fragment_within_a_group_does_not_begin_with_a_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "within.mp4"
    drawn = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=1")
    ffmpeg(*drawn, *FAST, "-g", "10", "-movflags", "+empty_moov+default_base_moof+frag_every_frame", path)
    assert [fragment.key for fragment in Growing(path).take()] == [True] + [False] * 9


def test_the_sounds_samples_are_counted_to_the_last(made: dict[str, Path]) -> None:
    growing = Growing(made["sound"])
    found = growing.take()
    assert sum(fragment.ticks for fragment in found) == 5 * 48000
    assert found[0].base_ticks == 0
    assert found[1].base_ticks == found[0].ticks == found[0].samples * 1024


def test_the_first_bytes_tell_what_the_track_is(made: dict[str, Path]) -> None:
    picture, sound = Growing(made["picture"]).facts, Growing(made["sound"]).facts
    assert picture is not None and sound is not None
    assert (picture.kind, picture.codec, picture.timescale) == ("video", "avc1.42c00d", 15360)
    assert (picture.width_px, picture.height_px) == (320, 180)
    assert (sound.kind, sound.codec, sound.timescale) == ("audio", "mp4a.40.2", 48000)
    assert (sound.channels, sound.rate_hz) == (2, 48000)


@pytest.mark.parametrize("name", ["picture", "b_frames", "sound"])
def test_however_the_file_grows_only_whole_fragments_are_handed_out(
    made: dict[str, Path], tmp_path: Path, name: str
) -> None:
    whole = made[name].read_bytes()
    expected = Growing(made[name]).take()
    ends = [fragment.at_bytes + fragment.size_bytes for fragment in expected]
    path = tmp_path / "growing.mp4"
    growing = Growing(path)
    assert growing.take() == [] and growing.init is None
    chance = random.Random(5)
    marks = {at + step for at in (0, 28, expected[0].at_bytes, *ends) for step in (-1, 0, 1, 7, 8, 9)}
    marks |= {chance.randrange(len(whole)) for _ in range(60)}
    found: list[Fragment] = []
    written = 0
    with path.open("wb", buffering=0) as file:
        for mark in [*sorted(mark for mark in marks if 0 < mark < len(whole)), len(whole)]:
            file.write(whole[written:mark])
            written = mark
            assert (growing.init is not None) == (written >= expected[0].at_bytes)
            found += growing.take()
            assert len(found) == sum(end <= written for end in ends)
            assert all(
                fragment.read() == whole[fragment.at_bytes :][: fragment.size_bytes] for fragment in found
            )
    growing.check_ended()
    assert [(one.at_bytes, one.ticks) for one in found] == [(one.at_bytes, one.ticks) for one in expected]


def test_fragments_are_handed_out_while_ffmpeg_is_still_writing(tmp_path: Path) -> None:
    """Small ones only with flush_packets: without it they wait in ffmpeg's own buffer, not in the file."""
    path = tmp_path / "live.mp4"
    drawn = ("-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=3")
    words = (
        *drawn,
        *FAST,
        "-g",
        "30",
        "-sc_threshold",
        "0",
        "-flush_packets",
        "1",
        "-movflags",
        FRAGMENTED,
        path,
    )
    command = [str(media.program().path), "-loglevel", "error", "-nostdin", *map(str, words)]
    growing = Growing(path)
    early: list[Fragment] = []
    with subprocess.Popen(command) as running:
        while running.poll() is None:
            early += growing.take()
            with suppress(subprocess.TimeoutExpired):
                running.wait(0.05)
    late = growing.take()
    growing.check_ended()
    assert running.returncode == 0
    assert early, "nothing was handed out before the end"
    found = [fragment.read() for fragment in early + late]
    assert [fragment.samples for fragment in early + late] == [30, 30, 30]
    assert (growing.init or b"") + b"".join(found) == path.read_bytes()[
        : sum(map(len, found)) + early[0].at_bytes
    ]


@pytest.mark.parametrize("name", ["picture", "b_frames"])
def test_moved_fragments_show_the_same_pictures_at_the_new_times(
    made: dict[str, Path], tmp_path: Path, name: str
) -> None:
    before = [line.split(",") for line in pictures_of(made[name])]
    after = [
        line.split(",") for line in pictures_of(rebuilt(made[name], tmp_path / "m.mp4", from_ticks=512 * 900))
    ]
    assert [line[-1] for line in after] == [line[-1] for line in before]
    assert [int(line[2]) for line in after] == [int(line[2]) + 900 for line in before]
    # Where times of showing lie before those of decoding, ffmpeg's reader tells all of them one picture later.
    late = int(before[0][2])
    assert late == (1 if name == "b_frames" else 0)
    assert [int(line[2]) for line in before] == list(range(late, late + 150))


def test_a_time_beyond_32_bits_survives(made: dict[str, Path]) -> None:
    fragment = Growing(made["sound"]).take()[0]
    content = patched(fragment, sequence=2**32 - 1, base_ticks=2**40 + 3)
    at = content.index(b"tfdt")
    assert struct.unpack(">IQ", content[at + 4 : at + 16]) == (1 << 24, 2**40 + 3)
    assert struct.unpack(">I", content[20:24]) == (2**32 - 1,)
    with pytest.raises(ValueError, match="no place"):
        patched(fragment, sequence=1, base_ticks=-1)


def test_a_time_written_in_32_bits_is_made_wider_and_the_samples_are_still_found(
    made: dict[str, Path], tmp_path: Path
) -> None:
    """ffmpeg writes 64 bits today; the older form is made here from its bytes."""
    growing = Growing(made["picture"])
    content = growing.init or b""
    for number, fragment in enumerate(growing.take()):
        narrow, moof_bytes = narrowed(fragment.read(), fragment.moof_bytes)
        content += moved(narrow, moof_bytes, sequence=number, base_ticks=fragment.base_ticks)
    path = tmp_path / "wider.mp4"
    path.write_bytes(content)
    assert [one.base_ticks for one in Growing(path).take()] == [0, 30720, 61440]
    assert pictures_of(path) == pictures_of(made["picture"])


def narrowed(content: bytes, moof_bytes: int) -> tuple[bytes, int]:
    """The fragment with a tfdt of version 0, four bytes shorter, and all that follows from it."""
    at = content.index(b"tfdt") - 4
    head = bytearray(content[:at] + struct.pack(">I4sII", 16, b"tfdt", 0, 1) + content[at + 20 : moof_bytes])
    for name, places in ((b"moof", -4), (b"traf", -4), (b"trun", 12)):
        place = head.index(name) + places
        (number,) = struct.unpack_from(">I", head, place)
        struct.pack_into(">I", head, place, number - 4)
    return bytes(head) + content[moof_bytes:], moof_bytes - 4


def test_the_end_of_a_killed_ffmpegs_file_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "killed.mp4"
    path.write_bytes(made["picture"].read_bytes()[:-2000])
    growing = Growing(path)
    assert len(growing.take()) == 2
    with pytest.raises(Retryable, match="no whole fragment") as refused:
        growing.check_ended()
    assert refused.value.code == "ffmpeg_failed"
    with pytest.raises(Retryable, match="no beginning"):
        Growing(tmp_path / "never.mp4").check_ended()


@pytest.mark.parametrize(
    ("size", "name"),
    [(0, b"moof"), (7, b"moof"), (2**31, b"moof"), (16, b"junk"), (8, b"mdat"), (1, b"mdat")],
)
def test_a_box_that_makes_no_sense_is_refused(
    made: dict[str, Path], tmp_path: Path, size: int, name: bytes
) -> None:
    first = Growing(made["picture"]).take()[0]
    path = tmp_path / "broken.mp4"
    path.write_bytes(
        made["picture"].read_bytes()[: first.at_bytes] + struct.pack(">I4s", size, name) + bytes(64)
    )
    with pytest.raises(Retryable, match="makes no sense"):
        Growing(path).take()


def test_a_fragment_larger_than_any_real_one_is_refused_before_it_is_read(
    made: dict[str, Path], tmp_path: Path
) -> None:
    first = Growing(made["picture"]).take()[0]
    whole = made["picture"].read_bytes()[: first.at_bytes + first.moof_bytes]
    path = tmp_path / "large.mp4"
    path.write_bytes(whole + struct.pack(">I4s", MOST_FRAGMENT_BYTES, b"mdat"))
    with pytest.raises(Retryable, match="follows the head"):
        Growing(path).take()


def test_a_file_of_another_codec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.mp4"
    drawn = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=10:d=0.5", "-c:v", "mpeg4")
    ffmpeg(*drawn, "-movflags", "+empty_moov+default_base_moof+frag_keyframe", path)
    with pytest.raises(Retryable, match="b'mp4v' instead of"):
        Growing(path).take()


@settings(max_examples=150, deadline=2000)
@given(
    changes=some.lists(some.tuples(some.integers(0, 2**20), some.integers(0, 255)), min_size=1, max_size=8)
)
def test_damaged_bytes_end_in_an_answer_or_a_refusal(
    made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    """Damage where it hurts: in the beginning and in the heads of the fragments."""
    whole = bytearray(made["sound"].read_bytes())
    fragments = Growing(made["sound"]).take()
    heads = list(range(fragments[0].at_bytes))
    for fragment in fragments:
        heads += range(fragment.at_bytes, fragment.at_bytes + fragment.moof_bytes + 8)
    for at, value in changes:
        whole[heads[at % len(heads)]] = value
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    path.write_bytes(whole)
    try:
        found = Growing(path).take()
        moved_bytes = [patched(one, sequence=1, base_ticks=1) for one in found]
    except Retryable as refused:
        assert refused.code == "ffmpeg_failed"
    else:
        assert len(moved_bytes) <= len(whole) // 16


@settings(max_examples=150, deadline=2000)
@given(cut=some.integers(0, 1000), noise=some.binary(max_size=64))
def test_a_beginning_that_is_cut_short_or_noise_is_refused(
    made: dict[str, Path], cut: int, noise: bytes
) -> None:
    init = Growing(made["sound"]).init
    assert init is not None
    with pytest.raises(Retryable):
        read_init(init[: min(cut, len(init) - 1)])
    with pytest.raises(Retryable):
        read_init(noise)
