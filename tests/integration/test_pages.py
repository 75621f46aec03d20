"""The node's pages in a real browser: what they show, by keyboard alone, in light and dark, and on a phone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from pouw.client.keys import save
from tests.browser import DESK, PHONE, chromium
from tests.integration.test_signed_requests import OPERATOR
from tests.support import API, Identity, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.browser import Browser
    from tests.conftest import StartNode
    from tests.support import Node

pytestmark = pytest.mark.debian
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def node(start_node: StartNode, new_database: Callable[[], str]) -> Iterator[Node]:
    own = start_node(new_database(), workers=2, operator_dids=OPERATOR.did)
    yield own
    own.stop()


@pytest.fixture(scope="module")
def claimant(node: Node) -> Identity:
    """A client with accepted and rejected receipts, and two disputes in words that are no text."""
    client = Identity()
    token = node.http.challenge()
    items = client.items(token, 3)
    node.http.accepted(client.batch(items))
    node.http.submit(client.batch([*items[:1], client.item(token, bytes_verified=1)]))
    nonce = items[0]["receipt"]["receipt_nonce"]
    for subject, subject_id in (("receipt", nonce), ("reward", "7")):
        body = {"subject": subject, "subject_id": subject_id, "claim": HOSTILE, "evidence": HOSTILE}
        filed = signed(node.http, client, "POST", f"{API}/disputes", json.dumps(body).encode())
        assert filed.status == 201
    return client


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(opened: Browser, node: Node) -> Iterator[Browser]:
    """A browser that nobody is signed in with; at the end it has complained of nothing, and asked nobody else."""
    opened.driver.get(node.http.base)
    opened.driver.delete_all_cookies()
    opened.look()
    opened.complaints()
    opened.hosts()
    yield opened
    assert opened.complaints() == []
    assert opened.hosts() <= {node.http.base.removeprefix("http://")}


def link(node: Node, folder: Path, who: Identity = OPERATOR) -> str:
    file = folder / "operator.key"
    save(file, who.key)
    command = [sys.executable, "-m", "pouw", "console", "--url", node.http.base, "--key", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def console(browser: Browser, node: Node, claimant: Identity, tmp_path: Path) -> Browser:
    """The console with an operator signed in."""
    assert claimant
    browser.driver.get(link(node, tmp_path))
    browser.wait(lambda: browser.run("return document.querySelectorAll('#disputes button').length") >= 1)
    return browser


def looks_right(browser: Browser, name: str) -> None:
    """Nothing sticks out of a phone's width; pictures are for whoever wants to look."""
    for dark in (False, True):
        for phone in (False, True):
            browser.look(dark=dark, phone=phone)
            browser.wait(lambda: browser.run("return document.fonts.status") == "loaded")
            most = (PHONE if phone else DESK)["width"]
            browser.wait(lambda most=most: browser.run("return document.documentElement.scrollWidth") <= most)  # type: ignore[misc]
            browser.picture(f"{name}-{'dark' if dark else 'light'}-{'phone' if phone else 'desk'}.png")
    browser.look()


def test_home_says_what_the_node_is_and_its_commands_work(browser: Browser, node: Node, tmp_path: Path) -> None:
    browser.driver.get(node.http.base)
    main = browser.text("main")
    assert "Proof-of-Useful-Work node" in main
    assert node.http.get(f"{API}/node").json["node_id"] in main
    assert browser.text("#status + p").startswith("ok")
    commands = browser.run("return [...document.querySelectorAll('pre')].map((one) => one.innerText)")
    (tmp_path / "FILES").write_bytes(bytes(5000))
    for command in commands:
        program = re.sub(r"^pouw ", f"{sys.executable} -m pouw ", command)
        done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    looks_right(browser, "home")


def test_an_operator_signs_in_with_a_link_that_works_once(browser: Browser, node: Node, tmp_path: Path) -> None:
    address = link(node, tmp_path)
    browser.driver.get(address)
    browser.wait(lambda: OPERATOR.did in browser.text("#operator"))
    assert "#" not in browser.driver.current_url, "the link does not stay in the address"
    cookie = browser.driver.get_cookie("pouw-console")
    assert cookie is not None
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    browser.driver.find_element(By.ID, "leave").click()
    browser.wait(lambda: browser.text("#told") == "You are signed out.")
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.wait(lambda: "made before" in browser.text("#told"))
    [refused] = browser.complaints()
    assert "401" in refused
    browser.driver.get(f"{node.http.base}/console#damaged")
    browser.wait(lambda: browser.text("#told") == "This link is damaged.")


def test_the_console_shows_everything(console: Browser, claimant: Identity, node: Node) -> None:
    console.wait(lambda: "too_few_bytes" in console.text("#rejected"))
    for part, expected in {
        "#parts": "database",
        "#refused": claimant.did,
        "#used": "issued by this node",
        "#epochs": "budget left",
        "#jobs": "last backup",
        "#keys": node.http.get(f"{API}/node").json["node_id"],
        "#disputes": HOSTILE,
        "#waiting": "",
    }.items():
        assert expected in console.text(part), part
    console.wait(lambda: console.run("return Chart.getChart('throughput').data.labels.length") > 0)
    assert console.text("#status") == "ok"
    looks_right(console, "console")


def test_only_the_dispute_that_is_seen_is_decided(console: Browser, node: Node) -> None:
    """Another one was open before, and this one cannot be read: there is nothing to decide."""
    first, second = console.driver.find_elements(By.CSS_SELECTOR, "#disputes button")
    first.click()
    console.wait(lambda: console.text("#d-history").count("UTC") == 2)
    assert console.driver.find_element(By.ID, "d-form").is_displayed()
    console.driver.find_element(By.ID, "d-close").click()
    number = second.text.split()[1]
    with console.without(f"{node.http.base}{API}/disputes/{number}"):
        second.click()
        console.wait(lambda: console.text("#d-told"))
        assert console.text("#d-title") == f"Dispute {number}"
        assert not console.driver.find_element(By.ID, "d-form").is_displayed()


def test_a_dispute_is_opened_and_decided_by_keyboard_alone(console: Browser, node: Node, claimant: Identity) -> None:
    def press(*keys: str) -> None:
        for key in keys:
            console.driver.switch_to.active_element.send_keys(key)

    def until(wanted: str) -> None:
        """Go on with the tab key until something of this name has the focus, as whoever has no mouse does."""
        for _ in range(80):
            name = console.run("const it = document.activeElement; return it.id || it.textContent")
            if name == wanted:
                return
            press(Keys.TAB)
        raise AssertionError(wanted)

    rows = console.run("return [...document.querySelectorAll('#disputes button')].map((one) => one.textContent)")
    assert len(rows) == 2
    until(rows[1])  # the older one, about a receipt
    press(Keys.ENTER)
    console.wait(lambda: console.text("#d-history").count("UTC") == 2)
    assert HOSTILE in console.text("#d-facts")
    assert HOSTILE in console.text("#d-entries")
    assert "4096" in console.text("#d-receipt"), "the receipt itself"
    assert "duplicate_nonce, too_few_bytes" in console.text("#d-history")
    looks_right(console, "dispute")
    until("d-state")
    Select(console.driver.find_element(By.ID, "d-state")).select_by_value("resolved_for_claimant")
    until("d-why")
    press("We looked again, and you were right.")
    until("d-atoms")
    press("12x")
    until("Decide")
    press(Keys.ENTER)
    console.wait(lambda: "compensation_atoms is a decimal number" in console.text("#d-told"))
    until("d-atoms")
    press("12")  # in place of what was there: the tab key selected it
    until("Decide")
    press(Keys.ENTER)
    console.wait(lambda: console.text("#d-told") == "It is resolved for claimant now.")
    number = rows[1].split()[1]
    found = signed(node.http, claimant, "GET", f"{API}/disputes/{number}").json
    assert (found["state"], found["compensation_atoms"]) == ("resolved_for_claimant", "12")
    press(Keys.ESCAPE)
    assert not console.run("return document.getElementById('dispute').open")
    [refused] = console.complaints()
    assert "422" in refused


def test_the_link_to_the_content_does_not_sign_out(console: Browser) -> None:
    console.run("document.querySelector('.skip').focus()")
    console.driver.switch_to.active_element.send_keys(Keys.ENTER)
    console.wait(lambda: console.driver.current_url.endswith("#main"))
    console.run("window.looked = new Promise((done) => setTimeout(done, 1000))")
    console.driver.execute_async_script("window.looked.then(arguments[0])")
    assert console.text("#told") == ""
    assert not console.run("return document.getElementById('board').hidden")


def test_a_network_is_blocked_and_let_in_again(console: Browser, node: Node) -> None:
    console.driver.find_element(By.ID, "subject").send_keys("203.0.113.0/24")
    console.driver.find_element(By.ID, "reason").send_keys(HOSTILE, Keys.ENTER)
    console.wait(lambda: HOSTILE in console.text("#blocks"))
    assert OPERATOR.did in console.text("#blocks")
    listed = signed(node.http, OPERATOR, "GET", f"{API}/blocks").json["items"]
    assert [each["subject"] for each in listed] == ["203.0.113.0/24"]
    console.driver.find_element(By.CSS_SELECTOR, "#blocks button").click()
    console.wait(lambda: "Nobody is blocked." in console.text("#blocks"))


def test_a_client_sees_its_own_receipts_and_why(
    browser: Browser, node: Node, claimant: Identity, tmp_path: Path
) -> None:
    file = tmp_path / "client.key"
    save(file, claimant.key)
    browser.driver.get(f"{node.http.base}/receipts")
    browser.driver.find_element(By.CSS_SELECTOR, "#who button").click()
    browser.wait(lambda: browser.text("#told") == "Choose your key file first.")
    browser.driver.find_element(By.ID, "file").send_keys(str(file))
    browser.driver.find_element(By.CSS_SELECTOR, "#who button").click()
    browser.wait(lambda: browser.text("#shown") == claimant.did)
    browser.wait(lambda: browser.run("return document.querySelectorAll('#list details').length") == 2)
    browser.run("document.querySelectorAll('#list details').forEach((one) => (one.open = true))")
    shown = browser.text("#list")
    assert "3 accepted" in shown
    assert "2 rejected" in shown
    assert "A receipt with this nonce was accepted before." in shown
    assert "Attest larger content" in shown
    looks_right(browser, "receipts")
    wrong = tmp_path / "wrong.key"
    wrong.write_text("not a key")
    browser.driver.find_element(By.ID, "file").send_keys(str(wrong))
    browser.driver.find_element(By.CSS_SELECTOR, "#who button").click()
    browser.wait(lambda: browser.text("#told").startswith("This is no key file"))
