"""Playlists and manifests: sums that hold, peaks that are real, people's words that break nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from app.media.playlists import (
    Listed,
    Text,
    language_of,
    lengths_us,
    master,
    media,
    mpd,
    text_media,
)

DASH = {"d": "urn:mpeg:dash:schema:mpd:2011"}
TALL = Listed("v0", "video", "avc1.640028", 1080, 1920, "30000/1001", "", "", 30000, ((60060, 900_000),))
SOUND = Listed("a0", "audio", "mp4a.40.2", 0, 0, "", "eng", "", 48000, ((192512, 64_000),))
# The words of people, at their worst.
WORDS = some.text(some.characters(exclude_categories=[]), max_size=40)


@some.composite
def tracks(draw: some.DrawFn) -> Listed:
    """A picture as the grid cuts it: one group, then two by two, the last of each clip shorter."""
    rate = Fraction(
        *draw(
            some.sampled_from(
                [(24000, 1001), (25, 1), (30000, 1001), (30, 1), (60, 1), (1, 1), (1, 3), (7, 2)]
            )
        )
    )
    timescale = rate.numerator * draw(some.sampled_from([1, 512, 1000]))
    group = max(1, round(2 * rate))
    frames = [group, *[2 * group] * draw(some.integers(0, 300)), draw(some.integers(1, 2 * group))]
    sizes = draw(some.lists(some.integers(100, 10**7), min_size=1, max_size=20))
    segments = tuple(
        (int(count * timescale / rate), sizes[number % len(sizes)]) for number, count in enumerate(frames)
    )
    return replace(TALL, fps=str(rate), timescale=timescale, segments=segments)


def durations(playlist: str) -> list[Fraction]:
    return [Fraction(found) for found in re.findall(r"#EXTINF:([0-9.]+),", playlist)]


def tag(playlist: str, name: str) -> str:
    found = re.findall(rf"(?m)^#{name}:(.*)$", playlist)
    assert len(found) == 1, f"{len(found)} times {name}"
    return str(found[0])


def attributes(line: str) -> dict[str, str]:
    """A strict reading of an attribute list (RFC 8216, 4.2)."""
    one = r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)'
    assert re.fullmatch(rf"{one}(,{one})*", line), line
    pairs = re.findall(one, line)
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: value.strip('"') for name, value in pairs}


def timeline(representation: ElementTree.Element) -> list[int]:
    found = representation.findall(".//d:S", DASH)
    assert [step.get("t") for step in found] == ["0"] + [None] * (len(found) - 1)
    return [int(step.attrib["d"]) for step in found for _ in range(1 + int(step.get("r", "0")))]


@settings(max_examples=60, deadline=2000)
@given(track=tracks())
def test_the_lengths_of_segments_sum_up_to_the_length_of_the_track(track: Listed) -> None:
    assert abs(Fraction(sum(lengths_us(track)), 10**6) - track.length_s) <= Fraction(1, 2 * 10**6)
    listed = durations(media(track, base="", ended=True))
    assert len(listed) == len(track.segments)
    assert sum(listed) * 10**6 == sum(lengths_us(track))
    for length_s, (ticks, _) in zip(listed, track.segments, strict=True):
        assert abs(length_s - Fraction(ticks, track.timescale)) <= Fraction(1, 10**6)


@settings(max_examples=60, deadline=2000)
@given(track=tracks(), share=some.floats(0, 1))
def test_the_target_duration_holds_from_the_first_segment_to_the_last(track: Listed, share: float) -> None:
    begun = replace(track, segments=track.segments[: max(1, int(share * len(track.segments)))])
    early, late = media(begun, base="", ended=False), media(track, base="", ended=True)
    target_s = int(tag(late, "EXT-X-TARGETDURATION"))
    assert tag(early, "EXT-X-TARGETDURATION") == str(target_s)
    # Halves are rounded upwards.
    assert all(int(length_s + Fraction(1, 2)) <= target_s for length_s in durations(late))


@settings(max_examples=60, deadline=2000)
@given(track=tracks())
def test_the_peak_is_that_of_the_worst_stretch_and_not_below_the_average(track: Listed) -> None:
    """Counted once more, slowly, for all stretches that RFC 8216 counts."""
    short = replace(track, segments=track.segments[:30])
    worst = Fraction(0)
    for start in range(len(short.segments)):
        ticks = size = 0
        for more, more_bytes in short.segments[start:]:
            ticks, size = ticks + more, size + more_bytes
            length_s = Fraction(ticks, short.timescale)
            if length_s > 2 * short.target_s:
                break
            if Fraction(short.target_s, 2) <= length_s <= Fraction(3 * short.target_s, 2):
                worst = max(worst, 8 * size / length_s)
    average = 8 * sum(size for _, size in short.segments) / short.length_s
    assert 0 <= short.peak_bps - max(worst, average) < 1
    assert 0 <= short.average_bps - average < 1


@settings(max_examples=60, deadline=2000)
@given(track=tracks())
def test_the_manifests_timeline_is_the_segments_tick_for_tick(track: Listed) -> None:
    root = ElementTree.fromstring(mpd([track], base="", ended=True))
    shown = root.findall(".//d:Representation", DASH)
    assert len(shown) == 1
    assert timeline(shown[0]) == [ticks for ticks, _ in track.segments]
    length = root.attrib["mediaPresentationDuration"]
    assert abs(Fraction(length.removeprefix("PT").removesuffix("S")) - track.length_s) < Fraction(1, 10**6)


@settings(max_examples=80, deadline=2000)
@given(words=WORDS, more=WORDS, language=WORDS)
def test_nothing_that_people_write_breaks_a_list(words: str, more: str, language: str) -> None:
    sounds = [replace(SOUND, label=words), replace(SOUND, name="a1", label=words, language=language)]
    texts = [Text("t0", language, more), Text("t1", "de", more)]
    playlist = master([TALL, *sounds], base="7/", texts=texts)
    assert playlist.encode().count(b"\n") == 9 and "\r" not in playlist
    named = [attributes(line) for line in re.findall(r"(?m)^#EXT-X-MEDIA:(.*)$", playlist)]
    assert [one["URI"] for one in named] == ["7/a0.m3u8", "7/a1.m3u8", "7/t0.m3u8", "7/t1.m3u8"]
    for pair in (named[:2], named[2:]):
        assert len({one["NAME"] for one in pair}) == 2
    root = ElementTree.fromstring(mpd([TALL, *sounds], base="7/", ended=True, texts=texts).encode())
    assert len(root.findall(".//d:AdaptationSet", DASH)) == 5


def test_labels_are_told_as_people_wrote_them_where_the_list_can_hold_them() -> None:
    label = 'Tom & "Ann"\n<b>it\'s</b>\x00'
    playlist = master([TALL, replace(SOUND, label=label)], base="")
    assert attributes(tag(playlist, "EXT-X-MEDIA"))["NAME"] == "Tom & ”Ann” <b>it’s</b>"
    root = ElementTree.fromstring(mpd([TALL, replace(SOUND, label=label)], base="", ended=True))
    assert [found.text for found in root.findall(".//d:Label", DASH)] == ['Tom & "Ann" <b>it\'s</b>']


def test_the_master_playlist_offers_every_rung_with_the_sound() -> None:
    low = replace(TALL, name="v1", width_px=360, height_px=640, segments=((60060, 100_000),))
    lines = master([TALL, low, SOUND], base="7/").splitlines()
    assert lines[:3] == ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    streams = [
        (attributes(line.split(":", 1)[1]), lines[at + 1])
        for at, line in enumerate(lines)
        if "STREAM-INF" in line
    ]
    assert [address for _, address in streams] == ["7/v0.m3u8", "7/v1.m3u8"]
    said = streams[0][0]
    assert said["CODECS"] == "avc1.640028,mp4a.40.2"
    assert (said["RESOLUTION"], said["FRAME-RATE"], said["AUDIO"]) == ("1080x1920", "29.970", "sound")
    # 900 000 bytes in 2.002 s and 64 000 bytes in 4.0107 s, each rounded up.
    assert int(said["BANDWIDTH"]) == 3_596_404 + 127_660
    sound = attributes(tag("\n".join(lines), "EXT-X-MEDIA"))
    assert (sound["TYPE"], sound["LANGUAGE"], sound["DEFAULT"], sound["CHANNELS"]) == (
        "AUDIO",
        "en",
        "YES",
        "2",
    )


def test_of_several_sounds_one_is_the_default_and_the_largest_counts() -> None:
    large = replace(SOUND, name="a1", language="fra", segments=((192512, 640_000),))
    playlist = master([TALL, SOUND, large], base="")
    defaults = [attributes(line)["DEFAULT"] for line in re.findall(r"(?m)^#EXT-X-MEDIA:(.*)$", playlist)]
    assert defaults == ["YES", "NO"]
    said = attributes(tag(playlist, "EXT-X-STREAM-INF"))
    assert int(said["BANDWIDTH"]) == TALL.peak_bps + large.peak_bps


@pytest.mark.parametrize("count", [1, 3])
def test_sound_without_a_picture_is_a_stream_of_its_own(count: int) -> None:
    sounds = [replace(SOUND, name=f"a{number}") for number in range(count)]
    playlist = master(sounds, base="")
    said = attributes(tag(playlist, "EXT-X-STREAM-INF"))
    assert said["CODECS"] == "mp4a.40.2" and "RESOLUTION" not in said
    assert playlist.splitlines()[-1] == "a0.m3u8"
    assert playlist.count("#EXT-X-MEDIA:") == (count if count > 1 else 0)
    assert ("AUDIO" in said) == (count > 1)


def test_a_picture_without_sound_names_no_group() -> None:
    said = attributes(tag(master([TALL], base=""), "EXT-X-STREAM-INF"))
    assert said["CODECS"] == "avc1.640028" and "AUDIO" not in said


def test_a_list_is_open_while_the_video_is_made_and_closed_after() -> None:
    early, late = (media(TALL, base="7/", ended=ended) for ended in (False, True))
    assert tag(early, "EXT-X-PLAYLIST-TYPE") == "EVENT" and "ENDLIST" not in early
    assert tag(early, "EXT-X-START") == "TIME-OFFSET=0,PRECISE=YES"
    assert tag(late, "EXT-X-PLAYLIST-TYPE") == "VOD" and late.endswith("#EXT-X-ENDLIST\n")
    assert late.splitlines()[-4:] == [
        '#EXT-X-MAP:URI="7/v0/init.mp4"',
        "#EXTINF:2.002000,",
        "7/v0/0.m4s",
        "#EXT-X-ENDLIST",
    ]


def test_a_growing_list_only_gains_lines() -> None:
    segments = tuple((60060 * (1 + (number > 0)), 1000 + number) for number in range(9))
    before = media(replace(TALL, segments=segments[:1]), base="", ended=False)
    for count in range(2, 10):
        after = media(replace(TALL, segments=segments[:count]), base="", ended=False)
        assert after.startswith(before) and len(after) > len(before)
        before = after


def test_a_growing_manifest_is_asked_for_again_and_an_ended_one_is_not() -> None:
    at = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    early = ElementTree.fromstring(mpd([TALL, SOUND], base="", ended=False, changed_at=at)).attrib
    assert (early["type"], early["minimumUpdatePeriod"]) == ("dynamic", "PT2S")
    assert early["publishTime"] == "2026-11-22T09:00:00Z"
    assert datetime.fromisoformat(early["availabilityStartTime"]) < at
    assert "mediaPresentationDuration" not in early
    late = ElementTree.fromstring(mpd([TALL, SOUND], base="", ended=True)).attrib
    assert (late["type"], late["mediaPresentationDuration"]) == ("static", "PT4.010667S")
    assert not {"minimumUpdatePeriod", "availabilityStartTime", "publishTime"} & set(late)
    assert late["profiles"] == "urn:mpeg:dash:profile:isoff-live:2011"


def test_the_manifest_tells_each_track_in_its_set() -> None:
    low = replace(TALL, name="v1", width_px=360, height_px=640, fps="15000/1001")
    root = ElementTree.fromstring(
        mpd([TALL, low, SOUND, replace(SOUND, name="a1", channels=1)], base="7/", ended=True)
    )
    sets = root.findall(".//d:AdaptationSet", DASH)
    assert [(one.get("contentType"), one.get("lang")) for one in sets] == [
        ("video", None),
        ("audio", "en"),
        ("audio", "en"),
    ]
    assert all((one.get("segmentAlignment"), one.get("startWithSAP")) == ("true", "1") for one in sets)
    assert [one.get("id") for one in sets[0].findall("d:Representation", DASH)] == ["v0", "v1"]
    assert (sets[0].get("maxFrameRate"), sets[0].get("maxWidth")) == ("30000/1001", "1080")
    channels = [found.get("value") for found in root.findall(".//d:AudioChannelConfiguration", DASH)]
    assert channels == ["2", "1"]
    template = root.findall(".//d:SegmentTemplate", DASH)[0]
    assert template.get("media") == "7/$RepresentationID$/$Number$.m4s" and template.get("startNumber") == "0"


def test_while_segments_are_to_come_the_planned_peak_is_told() -> None:
    planned = replace(TALL, target_kbps=8000)
    for ended, told in ((False, 8_000_000), (True, planned.peak_bps)):
        assert (
            int(attributes(tag(master([planned], base="", ended=ended), "EXT-X-STREAM-INF"))["BANDWIDTH"])
            == told
        )
        root = ElementTree.fromstring(mpd([planned], base="", ended=ended))
        assert [found.get("bandwidth") for found in root.findall(".//d:Representation", DASH)] == [str(told)]


def test_a_track_without_a_segment_is_not_offered_yet() -> None:
    waiting = replace(TALL, name="v1", segments=())
    assert "v1" not in master([TALL, waiting], base="", ended=False)
    assert "v1" not in mpd([TALL, waiting], base="", ended=False)
    assert durations(media(waiting, base="", ended=False)) == []
    assert master([waiting], base="").count("\n") == 3


def test_captions_are_one_file_as_long_as_the_video() -> None:
    playlist = text_media(Text("t0", "en", "English"), base="7/", length_s=Fraction(1001, 24))
    assert durations(playlist) == [Fraction("41.708333")]
    assert tag(playlist, "EXT-X-TARGETDURATION") == "42"
    assert playlist.splitlines()[-2] == "7/t0.vtt"


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("eng", "en"),
        ("ger", "de"),
        ("pt-BR", "pt-BR"),
        ("und", ""),
        ("", ""),
        ("a", ""),
        ("e n", ""),
        ("haw", "haw"),
    ],
)
def test_languages_are_told_by_their_shortest_code(code: str, language: str) -> None:
    assert language_of(code) == language


@pytest.mark.parametrize("base", ['"', "a b", "a\nb", "<", "\x7f"])
def test_an_address_that_would_break_a_list_is_refused(base: str) -> None:
    for wrong in (lambda: master([TALL], base=base), lambda: media(TALL, base=base, ended=True)):
        with pytest.raises(ValueError, match="not the start of an address"):
            wrong()
    with pytest.raises(ValueError, match="not the start of an address"):
        mpd([TALL], base=base, ended=True)


def test_a_dollar_in_an_address_is_no_name_of_the_template() -> None:
    template = ElementTree.fromstring(mpd([TALL], base="$7/", ended=True)).findall(
        ".//d:SegmentTemplate", DASH
    )[0]
    assert template.get("media") == "$$7/$RepresentationID$/$Number$.m4s"
