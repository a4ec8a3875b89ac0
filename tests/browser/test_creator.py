"""What a creator does in a browser: connect, upload, watch, resume, be refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import House

pytestmark = pytest.mark.browser
SLOW_S = 60_000


def connect(page: Page, house: House) -> None:
    page.goto(f"{house.address}/start")
    page.click("text=Use the simulator")
    expect(page.locator("text=Connected")).to_be_visible()


def choose(page: Page, house: House, *files: Path) -> None:
    page.goto(f"{house.address}/videos/new")
    expect(page.locator("#file")).to_have_js_property("multiple", True)
    page.set_input_files("#file", list(files))


def test_a_video_is_seen_branded_and_posted_without_a_reload(
    page: Page, house: House, videos: dict[str, Path]
) -> None:
    connect(page, house)
    choose(page, house, videos["large"])
    page.evaluate("window.sameDocument = true")
    page.fill("#title", "Three knots 🪢")
    expect(page.locator("[data-count-for=title]")).to_have_text("14 / 2200")
    page.click("label:has-text('Only me')")
    page.click("summary:has-text('Text on the video')")
    page.fill("#titleText", "Three knots")
    page.click("text=Upload, brand and post")
    uploads = page.locator("#uploads")
    expect(uploads).to_contain_text("Branding", timeout=SLOW_S)
    seen = page.wait_for_function(
        "() => { const bar = document.querySelector('#uploads progress');"
        " return bar && bar.value > 10 && bar.value < 100 && bar.value; }",
        timeout=SLOW_S,
    )
    assert 10 < seen.json_value() < 100
    expect(uploads).to_contain_text("Posted", timeout=SLOW_S)
    assert page.evaluate("window.sameDocument") is True
    page.click("#uploads a.title")
    expect(page.locator("h1")).to_have_text("Three knots 🪢")
    expect(page.locator("text=Open the post")).to_be_visible()
    page.evaluate("const film = document.querySelector('video'); film.muted = true; film.play()")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")


def test_an_upload_goes_on_where_it_was_after_a_reload(
    page: Page, context: BrowserContext, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["large"])
    slow = context.new_cdp_session(page)
    slow.send("Network.enable")
    line = {"offline": False, "latency": 5, "downloadThroughput": -1}
    size = videos["large"].stat().st_size
    slow.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": size / 6})
    page.click("text=Upload and brand")
    page.wait_for_function(
        "(size) => { const bar = document.querySelector('#uploads progress');"
        " return bar && bar.value > size / 4; }",
        arg=size,
        timeout=SLOW_S,
    )
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    left = page.locator("[data-unfinished]")
    expect(left).to_contain_text("Choose the same file again")
    # The storage's own count is asked for a moment after the page is there.
    expect(left.locator("[data-here]")).not_to_have_text("0 B")
    asked: list[int] = []
    page.on(
        "request",
        lambda request: (
            asked.append(int(request.headers["upload-offset"])) if request.method == "PATCH" else None
        ),
    )
    slow.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": -1})
    with page.expect_file_chooser() as chooser:
        page.click("[data-continue]")
    chooser.value.set_files(videos["large"])
    expect(page.locator("#uploads")).to_contain_text(re.compile("Branding|Branded"), timeout=SLOW_S)
    assert asked and asked[0] > size / 8, "the upload began anew"


def test_an_upload_can_be_paused_and_cancelled(
    page: Page, context: BrowserContext, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["large"])
    slow = context.new_cdp_session(page)
    slow.send("Network.enable")
    size = videos["large"].stat().st_size
    slow.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": size / 20},
    )
    page.click("text=Upload and brand")
    uploads = page.locator("#uploads")
    expect(uploads).to_contain_text("left", timeout=SLOW_S)
    uploads.get_by_role("button", name=re.compile("Pause")).press("Enter")
    expect(uploads).to_contain_text("Paused at")
    uploads.get_by_role("button", name=re.compile("Resume")).press("Enter")
    expect(uploads).to_contain_text("left", timeout=SLOW_S)
    uploads.get_by_role("button", name=re.compile("Cancel")).click()
    expect(uploads).to_be_hidden()
    page.goto(f"{house.address}/videos")
    expect(page.locator("text=No videos yet")).to_be_visible()


def test_of_several_files_the_text_is_refused_and_the_video_arrives(
    page: Page, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["text"], videos["short"])
    page.fill("#title", "Knots: {name}")
    page.evaluate("window.sameDocument = true")
    page.click("text=Upload and brand 2 videos")
    page.wait_for_url(re.compile(r"/batches/\d+$"))
    refused = page.locator(".batch-item", has_text="Knots: text")
    expect(refused).to_contain_text("This is a text file, not a video", timeout=SLOW_S)
    expect(page.locator(".batch-item", has_text="Knots: short")).to_contain_text("Branded", timeout=SLOW_S)
    expect(page.locator("[data-batch-percent]")).to_have_text("50 %")
    with page.expect_file_chooser() as chooser:
        refused.locator("[data-pick]").click()
    chooser.value.set_files(videos["short"])
    expect(page.locator("[data-batch-percent]")).to_have_text("100 %", timeout=SLOW_S)
    expect(page.locator("[data-batch]")).to_contain_text("Finished")
    assert page.evaluate("window.sameDocument") is True


def test_a_batch_that_stopped_amid_its_files_goes_on_with_all_of_them_at_once(
    page: Page, context: BrowserContext, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["large"], videos["short"])
    slow = context.new_cdp_session(page)
    slow.send("Network.enable")
    line = {"offline": False, "latency": 5, "downloadThroughput": -1}
    size = videos["large"].stat().st_size
    slow.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": size / 6})
    page.click("text=Upload and brand 2 videos")
    page.wait_for_function("() => document.querySelector('[data-batch-bar]')?.value > 15", timeout=SLOW_S)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    again = page.locator("label[for=batch-files]")
    expect(again).to_be_visible()
    offsets: list[int] = []
    page.on(
        "request",
        lambda request: (
            offsets.append(int(request.headers["upload-offset"])) if request.method == "PATCH" else None
        ),
    )
    slow.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": -1})
    with page.expect_file_chooser() as chooser:
        again.click()
    chooser.value.set_files([videos["short"], videos["large"]])
    expect(page.locator("[data-batch]")).to_contain_text("Finished", timeout=SLOW_S)
    assert offsets and min(offsets) > 0, "an upload began anew"


def test_more_files_than_a_batch_holds_are_refused_before_anything_is_sent(
    page: Page, house: House, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.mp4" for number in range(51)]
    for file in files:
        file.write_bytes(b"x")
    choose(page, house, *files)
    expect(page.locator("[data-wrong=file]")).to_contain_text("At most 50 files at once; these are 51.")
    expect(page.locator("#chosen > li")).to_have_count(0)


def test_videos_are_chosen_by_keyboard_and_cancelled_together_after_one_question(
    page: Page, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["short"], videos["short"])
    page.click("text=Upload and brand 2 videos")
    expect(page.locator("[data-batch]")).to_contain_text("Finished", timeout=SLOW_S)
    page.goto(f"{house.address}/videos")
    bulk = page.locator("#bulk")
    expect(bulk).to_be_hidden()
    page.locator(".tick input").first.focus()
    page.keyboard.press("Space")
    expect(bulk).to_contain_text("1 video chosen")
    page.check("#choose-all")
    expect(bulk).to_contain_text("2 videos chosen")
    page.keyboard.press("Escape")
    expect(bulk).to_be_hidden()
    page.check("#choose-all")
    bulk.get_by_role("button", name="Cancel").press("Enter")
    page.click("dialog >> text=Yes, cancel")
    page.wait_for_url(re.compile(r"/batches/\d+$"))
    expect(page.locator(".batch-item", has_text="There is nothing left to cancel.")).to_have_count(2)


def test_a_form_with_a_gap_is_marked_where_the_gap_is(
    page: Page, house: House, videos: dict[str, Path]
) -> None:
    connect(page, house)
    choose(page, house, videos["short"])
    page.click("label:has-text('Only me')")
    page.check("[name=commercial]")
    page.click("text=Upload, brand and post")
    expect(page.locator("[data-wrong=commercial] .error")).to_be_visible()
    page.check("[name=brandContent]")
    expect(page.locator("[data-only-me]")).to_be_disabled()
    expect(page.locator("[data-branded-terms]")).to_be_visible()


def test_a_file_dropped_on_the_library_opens_the_composer_there(page: Page, house: House) -> None:
    page.goto(f"{house.address}/videos")
    carried = page.evaluate_handle(
        "() => { const carried = new DataTransfer();"
        " carried.items.add(new File(['words'], 'my_knot.mp4', {type: 'video/mp4'})); return carried; }"
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": carried})
    page.dispatch_event("body", "drop", {"dataTransfer": carried})
    expect(page.locator("dialog #chosen")).to_contain_text("my_knot.mp4")
    page.click("dialog button[type=submit]")
    expect(page.locator("#uploads")).to_contain_text("was refused")


def test_a_list_under_the_pointer_offers_what_is_new_instead_of_moving(
    page: Page, context: BrowserContext, house: House, videos: dict[str, Path]
) -> None:
    choose(page, house, videos["short"])
    page.click("text=Upload and brand")
    expect(page.locator("#uploads")).to_contain_text("Branded", timeout=SLOW_S)
    page.goto(f"{house.address}/videos")
    page.hover(".video-card")
    other = context.new_page()
    choose(other, house, videos["short"])
    other.click("text=Upload and brand")
    offer = page.locator("#library-new button")
    expect(offer).to_have_text("1 new", timeout=SLOW_S)
    assert page.locator(".video-card").count() == 1
    offer.click()
    expect(page.locator(".video-card")).to_have_count(2)


def test_everything_works_without_script(
    chromium: Browser, page: Page, context: BrowserContext, house: House, videos: dict[str, Path]
) -> None:
    connect(page, house)
    plain = chromium.new_context(java_script_enabled=False, storage_state=context.storage_state())
    without = plain.new_page()
    without.goto(f"{house.address}/videos/new")
    without.set_input_files("#file", videos["short"])
    without.fill("#title", "By hand")
    without.click("label:has-text('Only me')")
    without.click("button[type=submit] >> text=Upload")
    without.wait_for_url(re.compile(r"/videos/\d+$"))
    expect(without.locator("h1")).to_have_text("By hand")
    for _ in range(60):
        without.reload()
        if without.locator("text=Open the post").count():
            break
        without.wait_for_timeout(500)
    expect(without.locator("text=Open the post")).to_be_visible()
    plain.close()


def test_the_theme_stays_and_the_menu_opens_by_keyboard(page: Page, house: House) -> None:
    page.focus(".menu summary")
    page.keyboard.press("Enter")
    page.click("[data-theme-choice] >> text=Dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_load_state("networkidle")
    page.goto(f"{house.address}/videos")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 19, 16)"


def test_code_that_comes_with_a_fragment_is_not_run(page: Page, house: House) -> None:
    page.goto(f"{house.address}/videos")
    page.wait_for_function("() => window.htmx && htmx.config.history === false")
    assert page.evaluate("[htmx.config.mode, htmx.config.includeIndicatorCSS]") == ["same-origin", False]
    page.evaluate(
        """async () => {
          const place = document.createElement("div");
          document.querySelector("main").append(place);
          const text = `<div id="evil"><script src="/static/theme.js" id="came"></script>`
            + `<button hx-on:click="window.ran = 'on'" id="on">a</button>`
            + `<button hx-get="/videos/cards" hx-trigger="click[window.ran = 'filter']" id="filter">b</button>`
            + `<button hx-get="/videos/cards" hx-vals="js:{a: window.ran = 'js'}" hx-target="this" id="js">c</button>`
            + `<div hx-ignore><button hx-get="/videos/cards" hx-swap="delete" id="ignored">d</button></div></div>`;
          await htmx.swap({ text, target: place, swap: "innerHTML", sourceElement: place });
        }"""
    )
    expect(page.locator("#evil")).to_be_visible()
    assert page.locator("#came").count() == 0
    for name in ("on", "filter", "js", "ignored"):
        page.click(f"#{name}")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    assert page.locator("#ignored").count() == 1
