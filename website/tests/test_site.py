"""Every page stays on its origin and fits a telephone; the players work with keys, a pointer and a finger."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from website.sounds import SOUNDS, VERSIONS
from website.tests.conftest import DESKTOP, PHONE, addresses, watched

HIGH_DB = """() => {  // the loudest of each bin over a second, above 4.6 kHz against the speech band
  return new Promise((done) => {
    const bins = new Float32Array(analyser.frequencyBinCount), most = new Float32Array(bins.length).fill(-200);
    const end = performance.now() + 1200, step = analyser.context.sampleRate / analyser.fftSize;
    const top = (from, to) => Math.max(...most.slice(from / step, to / step));
    const look = () => {
      analyser.getFloatFrequencyData(bins);
      bins.forEach((level, i) => (most[i] = Math.max(most[i], level)));
      if (performance.now() < end) setTimeout(look, 20);
      else done(top(4600, 7000) - top(300, 3400));
    };
    look();
  });
}"""


def player(page: Page, name: str = "prompt"):
    return page.locator("figure.player").nth([sound.name for sound in SOUNDS].index(name))


def seconds(figure) -> float:
    return float(figure.locator("output").inner_text().split(" ")[0])


def test_no_page_leaves_its_origin_or_overflows_a_telephone(browser: Browser, url: str):
    found = addresses()
    assert len(found) > 25
    context = browser.new_context(viewport=PHONE, is_mobile=True)
    page, wrong = watched(context, url)
    for address in found:
        page.goto(url + address, wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address
    page.wait_for_load_state("networkidle")
    assert wrong == []
    context.close()


def test_the_search_works_without_others(home: Page):
    home.keyboard.press("/")
    home.keyboard.type("jitter")
    expect(home.locator(".md-search-result__item").first).to_be_visible()


def test_a_player_works_with_the_keyboard_alone(home: Page):
    figure = player(home)
    picture, button = figure.get_by_role("slider"), figure.get_by_role("button")
    picture.focus()
    home.keyboard.press("Space")
    expect(button).to_have_accessible_name("Pause Telephone system")
    home.wait_for_function("parseFloat(document.activeElement.getAttribute('aria-valuenow')) > 0.3")
    before = seconds(figure)
    home.keyboard.press("1")
    expect(figure.get_by_label("Before")).to_be_checked()
    assert seconds(figure) >= before
    home.keyboard.press("ArrowRight")
    assert seconds(figure) >= before + 0.5
    home.keyboard.press("Space")
    expect(button).to_have_accessible_name("Play Telephone system")
    stopped = seconds(figure)
    home.keyboard.press("ArrowLeft")
    assert abs(seconds(figure) - (stopped - 0.5)) < 0.11
    home.keyboard.press("End")
    assert seconds(figure) > 4
    home.keyboard.press("Home")
    assert seconds(figure) == 0
    home.keyboard.press("3")
    assert "True" in picture.get_attribute("aria-valuetext")
    home.keyboard.press("Tab")
    expect(button).to_be_focused()
    home.keyboard.press("Tab")
    home.keyboard.press("ArrowLeft")
    expect(figure.get_by_label("After")).to_be_checked()


def test_what_is_heard_is_the_version_that_is_chosen(home: Page):
    figure = player(home)
    figure.get_by_role("button").click()
    heard = {}
    for key, name in zip("123", VERSIONS, strict=True):
        figure.get_by_role("slider").press("Home")
        figure.get_by_role("slider").press(key)
        home.wait_for_timeout(100)
        heard[name] = home.evaluate(HIGH_DB)
        shown = figure.locator("img:visible")
        expect(shown).to_have_count(1)
        assert shown.get_attribute("src").endswith(f"{name}.webp")
    assert heard["before"] < -35, heard
    assert heard["after"] > heard["before"] + 10, heard
    assert heard["true"] > heard["before"] + 10, heard


def test_one_player_plays_at_a_time(home: Page):
    first, second = player(home, "prompt"), player(home, "libri-201")
    first.get_by_role("button").click()
    expect(first.get_by_role("button")).to_have_accessible_name("Pause Telephone system")
    second.get_by_role("button").click()
    expect(second.get_by_role("button")).to_have_accessible_name("Pause Half a telephone")
    expect(first.get_by_role("button")).to_have_accessible_name("Play Telephone system")


def test_every_sound_plays(home: Page):
    for sound in SOUNDS:
        figure = player(home, sound.name)
        figure.get_by_role("button").click()
        expect(figure.get_by_role("button")).to_have_accessible_name(f"Pause {sound.title}")
        expect(figure.locator("small a").first).to_have_attribute("href", sound.licence.split('"')[1])


def test_a_player_works_with_a_finger(phone: Page):
    figure = player(phone)
    picture = figure.get_by_role("slider")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box["width"] > 200
    phone.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(figure.locator("output")).to_contain_text("of 4")
    length = float(figure.locator("output").inner_text().split(" ")[2])
    assert abs(seconds(figure) - length / 2) < 0.2
    figure.get_by_role("button").tap()
    figure.get_by_label("True").tap()
    expect(figure.get_by_label("True")).to_be_checked()
    phone.wait_for_timeout(400)
    assert seconds(figure) > length / 2 + 0.2
    for target in (figure.get_by_role("button"), figure.get_by_label("True")):
        assert min(target.bounding_box()["height"], target.bounding_box()["width"]) >= 40


def test_without_scripts_there_are_plain_players(browser: Browser, url: str):
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    assert page.locator("figure.player audio[controls]").count() == len(SOUNDS) * len(VERSIONS)
    expect(page.locator("figure.player audio").first).to_be_visible()
    context.close()


def test_a_sound_that_cannot_be_loaded_says_so(browser: Browser, url: str):
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.route("**/true.flac", lambda route: route.fulfill(status=404))
    page.goto(url)
    player(page).get_by_role("button").click()
    expect(player(page).locator("output")).to_contain_text("cannot be played")
    context.close()
