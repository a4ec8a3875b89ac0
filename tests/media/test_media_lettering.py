from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from app import media
from app.media.lettering import JOINER, letter, plain
from app.media.typefaces import FILES, FONT_FOLDER, STAND_IN, typeface
from tests.media.clips import ffmpeg

SIZE = (320, 180)
TITLE = media.Title("Hamburg", position="center", size_percent=20)


def drawn(design: media.Design, folder: Path) -> bytes:
    """Grey pixels of this lettering on black, by libass with our fonts alone."""
    text = letter(design, width_px=SIZE[0], height_px=SIZE[1], duration_s=1)
    (folder / "lettering.ass").write_text(text or "", encoding="utf-8")
    return ffmpeg(
        *("-f", "lavfi", "-i", f"color=black:s={SIZE[0]}x{SIZE[1]}:d=0.1", "-frames:v", "1"),
        *("-vf", f"ass={folder}/lettering.ass:fontsdir={FONT_FOLDER},format=gray", "-f", "rawvideo", "-"),
    )


def lit(picture: bytes) -> int:
    return sum(pixel > 60 for pixel in picture)


def columns(picture: bytes) -> list[int]:
    """Columns of the picture in which something is drawn."""
    return [at for at in range(SIZE[0]) if any(pixel > 60 for pixel in picture[at :: SIZE[0]])]


@pytest.mark.parametrize(
    "text", ["{\\an8}x", "a\\Nb\\hc\\nd", "\\{", "{", "x\\", "{\\p1}m 0 0{\\p0}", "\\\\N"]
)
def test_no_words_become_a_command_of_the_lettering(text: str) -> None:
    written = plain(text)
    rest = written.replace("\\" + JOINER, "").replace("\\{", "")
    assert "\\" not in rest
    assert "{" not in rest
    assert written.replace(JOINER, "").replace("\\{", "{") == text


@pytest.mark.parametrize("font", media.FONTS)
def test_a_line_break_in_a_title_starts_no_new_event(font: str) -> None:
    title = media.Title(
        "one\r\ntwo\u2028Dialogue: 0,0:00:00.00,0:00:09.00,Title,,0,0,0,,three\x00\x1b", font=font
    )
    written = letter(media.Design(title=title), width_px=640, height_px=360, duration_s=1) or ""
    assert sum(line.startswith("Dialogue:") for line in written.splitlines()) == 1
    assert "one\\Ntwo\\N" in written


def test_lone_surrogates_and_direction_marks_do_not_reach_the_file() -> None:
    assert plain("a\ud800b\u202ec").encode() == b"a b c"


def test_where_there_is_nothing_to_write_there_is_no_file() -> None:
    side = media.Captions(True, "00:01.0 --> 00:02.0\nx\n", mode="side")
    for design in (media.Design(), media.Design(captions=side), media.Design(captions=media.Captions(True))):
        assert letter(design, width_px=640, height_px=360, duration_s=1) is None


def test_every_font_has_its_file_and_its_licence_beside_it() -> None:
    assert {path.name for path in FONT_FOLDER.glob("*.?tf")} == set(FILES.values())
    # In a folder of their own: libass complains of every file beside the fonts that is none.
    assert len(list(FONT_FOLDER.iterdir())) == len(FILES)
    licences = [
        path.read_text(encoding="utf-8") for path in (FONT_FOLDER.parent / "licences").glob("OFL*.txt")
    ]
    for name in FILES.values():
        assert any(name in text.partition("\n")[0] and "SIL OPEN FONT LICENSE" in text for text in licences)


def test_every_font_draws_and_none_looks_like_another(tmp_path: Path) -> None:
    blank = drawn(media.Design(title=replace(TITLE, text=" ")), tmp_path)
    assert lit(blank) == 0
    pictures = {font: drawn(media.Design(title=replace(TITLE, font=font)), tmp_path) for font in media.FONTS}
    for picture in pictures.values():
        assert lit(picture) > 300
    for one, other in combinations(pictures.values(), 2):
        differing = sum(abs(a - b) > 60 for a, b in zip(one, other, strict=True))
        assert differing > 200


@pytest.mark.parametrize("font", media.FONTS)
def test_cyrillic_is_drawn_in_the_font_itself_where_it_has_it_and_in_the_first_where_not(
    tmp_path: Path, font: str
) -> None:
    words = replace(TITLE, text="Привіт")
    seen = drawn(media.Design(title=replace(words, font=font)), tmp_path)
    first = drawn(media.Design(title=replace(words, font=STAND_IN)), tmp_path)
    assert lit(seen) > 300
    assert (seen == first) == (font == STAND_IN or not typeface(font).draws("П"))
    assert typeface("Vollkorn").draws("П")
    assert typeface("Yanone Kaffeesatz").draws("і")
    assert not typeface("Kaushan Script").draws("П")


def test_letters_of_two_fonts_in_one_word_stand_side_by_side(tmp_path: Path) -> None:
    design = media.Design(title=replace(TITLE, text="aЖ{b\\c", font="Kaushan Script", size_percent=15))
    assert len(columns(drawn(design, tmp_path))) > len(
        columns(drawn(media.Design(title=replace(design.title or TITLE, text="aЖ")), tmp_path))
    )


@pytest.mark.parametrize("font", media.FONTS)
@pytest.mark.parametrize("text", ["word " * 50, "W" * 200, "ЩШ" * 90, "ﬀ漢字" * 60])
def test_no_line_is_wider_than_the_picture_in_any_font(tmp_path: Path, font: str, text: str) -> None:
    seen = columns(drawn(media.Design(title=replace(TITLE, text=text, font=font, size_percent=12)), tmp_path))
    assert seen
    assert min(seen) >= 4
    assert max(seen) < SIZE[0] - 4


def rows(picture: bytes) -> list[int]:
    """Rows of the picture in which something is drawn."""
    width = SIZE[0]
    return [
        at for at in range(SIZE[1]) if any(pixel > 60 for pixel in picture[at * width : (at + 1) * width])
    ]


def test_a_condensed_font_has_room_for_more_on_a_line(tmp_path: Path) -> None:
    words = replace(TITLE, text="a line of some words " * 3, size_percent=12)
    wide = rows(drawn(media.Design(title=words), tmp_path))
    narrow = rows(drawn(media.Design(title=replace(words, font="Yanone Kaffeesatz")), tmp_path))
    assert max(narrow) - min(narrow) < 0.8 * (max(wide) - min(wide))


def test_a_faint_title_lets_the_picture_through(tmp_path: Path) -> None:
    brightest = {
        opacity: max(drawn(media.Design(title=replace(TITLE, opacity=opacity)), tmp_path))
        for opacity in (1.0, 0.5, 0.0)
    }
    assert brightest[1.0] > 240
    assert 100 < brightest[0.5] < 160
    assert brightest[0.0] < 5


def test_a_title_stands_as_far_from_the_edge_as_it_was_told(tmp_path: Path) -> None:
    for margin_px in (0, 40):
        title = replace(TITLE, text="H", position="left", margin_px=margin_px)
        first = columns(drawn(media.Design(title=title), tmp_path))[0]
        assert margin_px <= first <= margin_px + 8


def captioned(**look: object) -> media.Design:
    srt = "00:00.0 --> 00:01.0\nHello\nthere\n"
    return media.Design(captions=replace(media.Captions(True, srt, size_percent=8), **look))


@pytest.mark.parametrize("position", ["topleft", "top", "right", "center", "bottomleft", "bottom"])
def test_captions_stand_where_they_were_put(tmp_path: Path, position: str) -> None:
    seen = drawn(captioned(position=position), tmp_path)
    lines = rows(seen)
    middle = (min(lines) + max(lines)) / 2 / SIZE[1]
    across = columns(seen)
    centre = (min(across) + max(across)) / 2 / SIZE[0]
    assert (middle < 0.4) == position.startswith("top")
    assert (middle > 0.6) == position.startswith("bottom")
    assert (centre < 0.4) == position.endswith("left")
    assert (centre > 0.6) == position.endswith("right")


def test_larger_captions_are_larger_and_a_box_stands_behind_them(tmp_path: Path) -> None:
    plain_ones = lit(drawn(captioned(), tmp_path))
    assert lit(drawn(captioned(size_percent=4), tmp_path)) < 0.5 * plain_ones
    boxed = drawn(captioned(background="#8080ff"), tmp_path)
    assert lit(boxed) > 3 * plain_ones
    across = columns(boxed)
    inside = boxed[(SIZE[1] - 30) * SIZE[0] + min(across) + 2]
    assert 60 < inside < 128


def test_a_caption_too_long_for_the_picture_is_written_smaller(tmp_path: Path) -> None:
    design = media.Design(
        captions=media.Captions(True, "00:00.0 --> 00:01.0\n" + "words and " * 25, size_percent=10)
    )
    seen = drawn(design, tmp_path)
    assert lit(seen[: SIZE[0] * 60]) == 0
    assert lit(seen) > 300
