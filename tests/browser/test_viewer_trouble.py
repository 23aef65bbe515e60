"""The 3D view when something around it is missing: a sentence says so, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext

from sam4d.simulation import SyntheticDrive
from sam4d.structures import Masklet
from tests.browser.clicking import MARKS, a_point, click_on
from tests.browser.conftest import BackendServer, LabellingProject
from tests.browser.labelling_page import LabellingPage
from tests.browser.viewer_page import ViewerPage
from tests.label_studio_server import LabelStudioServer

pytestmark = MARKS


def test_while_the_backend_is_away_nothing_is_lost(
    viewer: ViewerPage, labelling: LabellingPage, backend: BackendServer, drive: SyntheticDrive, seen_cars: list[Masklet]
) -> None:
    click_on(viewer, drive, seen_cars[0])
    backend.stop()
    viewer.show_frame(1)
    viewer.press("PageUp")
    edited = viewer.cuboid(1)
    click_on(viewer, drive, seen_cars[1])
    assert "backend does not answer" in viewer.notice
    viewer.picture("backend-away")
    assert viewer.cuboid(1) == edited
    backend.start()
    viewer.show_frame(0)
    click_on(viewer, drive, seen_cars[1])
    assert len(viewer.listed) == 2
    viewer.frame.locator("[data-object='1']").click()
    assert viewer.cuboid(1) == edited
    labelling.errors.clear()  # the browser's own lines about requests that failed


def test_after_a_logout_and_with_a_sweep_that_is_gone_it_says_so(
    viewer: ViewerPage,
    labelling: LabellingPage,
    label_studio: LabelStudioServer,
    drive: SyntheticDrive,
    seen_cars: list[Masklet],
) -> None:
    page = labelling.page
    page.route("**/clouds/000004.s4dc", lambda route: route.fulfill(status=404))
    viewer.frame.locator("[data-frame='4']").click()
    viewer.frame.wait_for_function("() => !document.querySelector('.notice').hidden")
    assert viewer.notice.startswith("Frame 5 cannot be shown. Label Studio answered 404")
    viewer.show_frame(0)

    # On the server as well: an answer that is still on its way would bring the cookie back.
    page.context.request.get(f"{label_studio.url}/logout")
    page.context.clear_cookies()
    viewer.look_from_above()
    viewer.press("c")
    viewer.click_without_waiting(a_point(drive, seen_cars[0]))
    viewer.frame.wait_for_function("() => document.querySelector('.notice').textContent.startsWith('You are logged out')")
    viewer.picture("logged-out")
    labelling.errors.clear()


def test_without_label_studio_around_it_the_drive_can_be_looked_at(
    context: BrowserContext, project: LabellingProject, label_studio: LabelStudioServer, pictures: Path
) -> None:
    html = str(project.client.tasks(project.project)[0].data["viewer_html"])
    address = html.split('src="')[1].split('"')[0].replace("&amp;", "&")
    page = context.new_page()
    page.goto(label_studio.url + address)
    viewer = ViewerPage(page, pictures)
    assert "can be looked at, not labelled" in (page.get_by_role("alert").text_content() or "")
    viewer.press("ArrowRight")
    viewer.frame.wait_for_function("() => window.sam4d.viewport.shownFrame === 1")
    viewer.picture("alone")

    page.goto(label_studio.url + address.split("&clip")[0])
    assert "inside Label Studio" in page.locator(".sentence").inner_text()

    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(label_studio.url + address)
    assert "WebGL" in page.locator(".sentence").inner_text()
    page.screenshot(path=pictures / "without-webgl.png")
