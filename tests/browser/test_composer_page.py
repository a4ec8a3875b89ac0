"""The composer in a browser: judged as it is typed, kept as it is typed, by keyboard, and without script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import House

pytestmark = pytest.mark.browser
SLOW_MS = 60_000
FIRST_LOAD_BYTES = 150_000
WEIGHT = (
    "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
    ".filter((one) => !/media/.test(one.name)).reduce((sum, one) => sum + one.encodedBodySize, 0)"
)


def connect(page: Page, house: House, name: str, platform: str) -> None:
    page.goto(f"{house.address}/sessions")
    csrf = page.locator("meta[name=csrf]").get_attribute("content") or ""
    answer = page.request.post(
        f"{house.address}/accounts/simulated",
        form={"csrf": csrf, "name": name, "platform": platform},
        headers={"origin": house.address},
    )
    assert answer.ok, answer.text()


def panel(page: Page, at: int = 0) -> str:
    """The number of the account whose tab stands at this place."""
    return page.locator("[data-tab]").nth(at).get_attribute("data-tab") or ""


def test_a_post_for_two_accounts_is_written_by_keyboard_judged_and_kept_as_it_is_typed(
    page: Page, context: BrowserContext, chromium: Browser, house: House, videos: dict[str, Path]
) -> None:
    connect(page, house, "Maya Knots", "tiktok")
    connect(page, house, "Maya Makes", "tiktok")

    # An upload for several accounts leads to the composer while the video is still being made.
    page.goto(f"{house.address}/videos/new")
    page.set_input_files("#file", videos["short"])
    page.fill("#title", "Three knots")
    page.click("label:has-text('Several accounts')")
    page.click("text=Upload, then compose")
    page.wait_for_url(re.compile(r"/compose\?video=\d+"), timeout=SLOW_MS)
    expect(page.locator("#chosen-video")).to_contain_text("Three knots")
    assert 20_000 < page.evaluate(WEIGHT) < FIRST_LOAD_BYTES

    # Accounts bring their panels; arrows go from tab to tab.
    for box in page.locator("input[name=account]").all():
        box.focus()
        page.keyboard.press("Space")
    expect(page.locator("[role=tab]")).to_have_count(2)
    first, second = panel(page, 0), panel(page, 1)
    page.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("Home")
    expect(page.locator(f"#panel-{first}")).to_be_visible()
    expect(page.locator(f"#panel-{second}")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"#tab-{second}")).to_be_focused()
    expect(page.locator(f"#panel-{second}")).to_be_visible()

    # Counted as the platform counts, and told at the field; what was not touched yet is only counted on the tab.
    page.fill("#text", "🪢" * 1101)
    expect(page.locator("#text-counts")).to_contain_text("2202 / 2200")
    expect(page.locator("[data-wrong=text]")).to_contain_text("2200 characters on TikTok")
    expect(page.locator(f"[data-wrong='{second}-privacy_level']")).to_be_empty()
    page.fill("#text", "Three knots that hold #sailing")
    expect(page.locator(f"#preview-{second} .words")).to_have_text("Three knots that hold #sailing")
    expect(page.locator(f"#tab-{second} [data-left]")).to_have_text(re.compile("^1"))
    page.click(f"#panel-{second} label:has-text('Only me')")
    expect(page.locator(f"#tab-{second} [data-left]")).to_be_hidden()
    page.check(f"[name='{second}-commercial']")
    page.check(f"[name='{second}-brand_content']")
    expect(page.locator(f"[name='{second}-privacy_level'][value=SELF_ONLY]")).to_be_disabled()
    page.uncheck(f"[name='{second}-commercial']")
    page.click(f"#panel-{second} label:has-text('Only me')")

    # Kept as it is typed: the same after a reload and in another tab of the browser.
    page.check(f"[name='{second}-own']")
    page.fill(f"[name='{second}-text']", "Only here")
    page.wait_for_url(re.compile(r"\?draft=\d+"))
    expect(page.locator("#saved")).to_have_text(re.compile(r"Saved \d\d:\d\d"))
    page.wait_for_function("() => document.documentElement.dataset.checked === 'yes'")
    page.reload()
    expect(page.locator(f"[name='{second}-text']")).to_have_value("Only here")
    other = context.new_page()
    other.goto(f"{house.address}/compose")
    expect(other.locator("#drafts")).to_contain_text("Three knots that hold")
    # Left in the middle of a word.
    page.fill("#text", "Three knots that hold, always")
    page.goto(f"{house.address}/compose")
    page.wait_for_function(
        "async () => (await (await fetch('/compose')).text()).includes('Three knots that hold, always')"
    )
    page.reload()
    page.click("#drafts a.title")
    expect(page.locator("#text")).to_have_value("Three knots that hold, always")

    # Refused: the list leads to the field, and everything is still there.
    page.click("button[value=send]")
    expect(page.locator("#problems")).to_contain_text("Nothing was posted")
    page.locator("#problems a").first.press("Enter")
    expect(page.locator(f"#panel-{first}")).to_be_visible()
    page.click(f"#panel-{first} label:has-text('Only me')")
    page.click("label:has-text('At a time')")
    page.fill("#at", "2027-03-02T09:00")
    page.select_option("#zone", "Europe/Kyiv")
    expect(page.locator("#when-words")).to_contain_text(re.compile("2 Mar( 2027)? 09:00 Europe/Kyiv, in"))
    expect(page.locator("#forecast")).to_contain_text("is connected, also at that time")
    page.click("text=Plan the post")
    page.wait_for_url(re.compile(r"/publications/\d+$"))
    planned = page.url

    # The same without script.
    plain = chromium.new_context(java_script_enabled=False, storage_state=context.storage_state())
    without = plain.new_page()
    without.goto(f"{planned}/edit")
    expect(without.locator(f"[name='{second}-text']")).to_have_value("Only here")
    without.fill("#text", "Changed by hand")
    without.click("text=Save the changes")
    without.wait_for_url(planned)
    without.goto(f"{house.address}/compose")
    without.click(".pick")
    without.check(f"[name=account][value='{first}']")
    without.fill("#text", "By hand")
    without.click("text=Show the choices of the ticked accounts")
    expect(without.locator("#text")).to_have_value("By hand")
    without.click(f"#panel-{first} label:has-text('Only me')")
    without.click("button[value=send]")
    without.wait_for_url(re.compile(r"/publications/\d+$"))
    assert without.url != planned
    plain.close()
