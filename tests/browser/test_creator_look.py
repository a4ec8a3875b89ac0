"""The look in a browser: it is seen before anything is sent, changed by keyboard, kept as a kit, and given anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import House
from tests.makers import a_picture

pytestmark = pytest.mark.browser
SHAPE = (
    "() => { const box = document.querySelector('[data-stage]').getBoundingClientRect();"
    " return box.width / box.height; }"
)


def shape(page: Page) -> float:
    return round(float(page.evaluate(SHAPE)), 2)


def test_a_look_is_kept_seen_on_the_chosen_file_and_changed_later(
    page: Page, house: House, videos: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "mark.png").write_bytes(a_picture())
    page.goto(f"{house.address}/kits/new")
    page.fill("#name", "Short videos")
    page.click("summary:has-text('Logo')")
    page.set_input_files("#logo-file", tmp_path / "mark.png")
    expect(page.locator(".stage-logo")).to_be_visible()
    page.click("label:has-text('9:16')")
    page.click("text=Keep the kit")
    expect(page.locator(".kit-card")).to_contain_text("Default")

    page.goto(f"{house.address}/videos/new")
    expect(page.locator(".stage-logo")).to_be_visible()
    page.set_input_files("#file", videos["short"])
    page.wait_for_function("() => document.querySelector('.stage-main').videoWidth === 640")
    assert shape(page) == 0.56
    # Everything by keyboard: the shape is one group of choices, the focus a slider.
    page.focus("input[name=frameAspect][value='9:16']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => Math.abs(({SHAPE})() - 1) < 0.01")
    page.focus("#frameFocusX")
    before = page.evaluate("getComputedStyle(document.querySelector('.stage-main')).objectPosition")
    page.keyboard.press("End")
    after = page.evaluate("getComputedStyle(document.querySelector('.stage-main')).objectPosition")
    assert (before, after) == ("50% 50%", "100% 50%")
    box = page.locator("[data-stage]").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.up()
    assert int(page.input_value("#frameFocusX")) < 100
    page.click("summary:has-text('Captions')")
    page.click("label:has-text('Burned in')")
    (tmp_path / "words.uk.srt").write_text("1\n00:00:00,000 --> 00:00:09,000\nПривіт\n")
    page.set_input_files("#captions-file", tmp_path / "words.uk.srt")
    expect(page.locator(".stage-captions")).to_have_text("Привіт")
    assert page.input_value("#captionsLanguage") == "uk"
    page.click("text=Upload and brand")
    expect(page.locator("#uploads")).to_contain_text("Branded", timeout=60_000)

    page.click("#uploads a.title")
    address = page.url
    page.goto(f"{address}/look")
    expect(page.locator("#captionsText")).to_have_value("1\n00:00:00,000 --> 00:00:09,000\nПривіт\n")
    drawn = "() => document.querySelector('[data-still] img').naturalWidth"
    page.wait_for_function(f"() => ({drawn})() === 360")
    page.click("label:has-text('As it is')")
    page.wait_for_function(f"() => ({drawn})() === 640")
    page.click("text=Brand it anew")
    page.wait_for_url(address)
