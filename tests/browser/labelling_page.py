"""A labeller at Label Studio's page: what they click and drag, and what the page then really holds.

Everything is done with the mouse and the keyboard, as a person would. What came of it is read from the editor's own state, the one that it
submits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Request, Response

Result: TypeAlias = dict[str, Any]
Pixel: TypeAlias = tuple[float, float]

WAIT_SECONDS = 60.0
"""How long any wait may take. On two idle cores the page opens in 3 s and a click is answered within 3 s."""

LABEL_STUDIO_NOISE = ("/heidi-tips",)
"""Addresses that Label Studio 1.23.2 asks itself for in vain, whatever the project: it writes one console error for each."""

_ANNOTATION = "window.Htx.annotationStore.selected"


@dataclass(frozen=True)
class _Placement:
    """Where an image lies on the screen and how large it really is, in pixels."""

    left: float
    top: float
    width: float
    height: float
    image_width: int
    image_height: int

    def to_screen(self, pixel: Pixel) -> Pixel:
        return self.left + pixel[0] / self.image_width * self.width, self.top + pixel[1] / self.image_height * self.height


class LabellingPage:
    """One task open in the editor.

    Args:
        page: of a browser that is logged in.
        label_config: the project's; it says in what order the page shows images and rows of labels.
        pictures: folder for the screenshots.
    """

    def __init__(self, page: Page, base_url: str, label_config: str, pictures: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self._base_url = base_url
        self._pictures = pictures
        elements = list(ElementTree.fromstring(label_config).iter())
        self._label_rows = [element.attrib["name"] for element in elements if element.tag.endswith("Labels")]
        self._images = [element.attrib["name"] for element in elements if element.tag == "Image"]
        page.set_default_timeout(WAIT_SECONDS * 1000)
        page.on("console", self._note_message)
        page.on("pageerror", self._note_exception)
        page.on("response", self._note_response)
        page.on("requestfailed", self._note_failed_request)

    def open_task(self, project: int, task: int) -> None:
        self.page.goto(f"{self._base_url}/projects/{project}/data?task={task}")
        self._wait_for("(task) => window.Htx?.task?.id === task", task)
        self._wait_until_shown()

    def switch_on_auto_annotation(self) -> None:
        """Auto-Annotation and Auto-Accept Suggestions, the two switches at the bottom of the page."""
        for text, state in (("Auto-Annotation", "autoAnnotation"), ("Auto-Accept Suggestions", "autoAcceptSuggestions")):
            if not self.page.evaluate(f"() => window.Htx.{state}"):
                self.page.get_by_text(text, exact=True).click()
                self._wait_for(f"() => window.Htx.{state}")

    def pick_tool(self, image: str, tool: str, *, smart: bool = True) -> None:
        """`tool` as the page calls it for screen readers: key-point-tool, rectangle-tool, brush-tool, move-tool."""
        toolbar = self.page.locator(".lsf-toolbar").nth(self._images.index(image))
        self._scroll_to(image)
        if smart:
            toolbar.locator("button.lsf-tool_smart").first.hover()
            toolbar.locator(".lsf-toolbar__smart").get_by_label(tool, exact=True).click()
        else:
            toolbar.get_by_label(tool, exact=True).first.click()
        self._wait_for(
            f"([name, smart]) => {{ const tool = {_ANNOTATION}.names.get(name).getToolsManager().findSelectedTool();"
            " return tool && !!tool.dynamic === smart; }",
            [image, smart],
        )
        # The menu of smart tools covers a part of the image until the pointer leaves it.
        self.page.mouse.move(5, 5)

    def pick_label(self, tag: str, label: str) -> None:
        """A label of one of the configuration's tags, for example of `kp_front`."""
        self.unselect()
        selected = f"(tag) => {_ANNOTATION}.names.get(tag).isSelected"
        if not self.page.evaluate(selected, tag):
            self._label_row(tag).get_by_text(label, exact=True).click()
            self._wait_for(selected, tag)

    def unselect(self) -> None:
        """Escape. While a region is selected, a label would be given to that region and a click would select another."""
        if self.page.evaluate(f"() => {_ANNOTATION}.selectionSize"):
            self.page.keyboard.press("Escape")
            self._wait_for(f"() => {_ANNOTATION}.selectionSize === 0")

    def show_frame(self, image: str, frame: int) -> None:
        """Turn an image's pager, page by page."""
        self._scroll_to(image)
        pager = self.page.locator(".lsf-pagination").nth(self._images.index(image))
        shown = f"(name) => {_ANNOTATION}.names.get(name).currentImage"
        while (now := int(self.page.evaluate(shown, image))) != frame:
            pager.locator(".lsf-pagination__btn_arrow-right" if frame > now else ".lsf-pagination__btn_arrow-left").first.click()
            self._wait_for(f"([name, before]) => ({shown})(name) !== before", [image, now])
        self._wait_for(f"(name) => {_ANNOTATION}.names.get(name).currentImageEntity.imageLoaded", image)

    def smart_click(self, image: str, pixel: Pixel, *, negative: bool = False, inside_mask: bool = False) -> Result:
        """A click with the picked tool and label; returns the answer once the page has taken it over.

        inside_mask: hold Ctrl, without which Label Studio selects the mask under the pointer and asks nothing.
        """
        x, y = self._place(image).to_screen(pixel)
        keys = [*(["Control"] if inside_mask else []), *(["Alt"] if negative else [])]
        with self.page.expect_response(_is_interactive_answer) as answer:
            for key in keys:
                self.page.keyboard.down(key)
            self.page.mouse.click(x, y)
            for key in reversed(keys):
                self.page.keyboard.up(key)
        return self._accepted(answer.value)

    def smart_drag(self, image: str, pixels: Sequence[Pixel]) -> Result:
        """A box from corner to corner, or a brush stroke, with the picked tool and label; returns the answer likewise."""
        with self.page.expect_response(_is_interactive_answer) as answer:
            self._drag(image, pixels)
        return self._accepted(answer.value)

    def drag_region(self, image: str, start: Pixel, end: Pixel) -> None:
        """Drag the region that lies at `start`, with the move tool."""
        self.pick_tool(image, "move-tool", smart=False)
        self._drag(image, [start, end])
        self.unselect()

    def paint(self, image: str, pixels: Sequence[Pixel]) -> None:
        """One stroke with the picked brush and label: a new region, or more of the selected one."""
        self._drag(image, pixels)
        self._wait_for(f"() => !{_ANNOTATION}.isDrawing")

    def submit(self) -> Result:
        """Submit, or update what was submitted before; returns the annotation as the server answers it."""
        button = self.page.get_by_test_id("bottombar-submit-button").or_(self.page.get_by_test_id("bottombar-update-button"))
        with self.page.expect_response(_is_submission) as answer:
            button.click()
        assert answer.value.ok, answer.value.text()
        annotation = dict(answer.value.json())
        # The editor loads the task anew after it was submitted.
        self._wait_for("(id) => window.Htx?.annotationStore?.selected?.pk == id", annotation["id"])
        self._wait_until_shown()
        return annotation

    def results(self) -> list[Result]:
        """What the editor would submit now."""
        return list(self.page.evaluate(f"() => {_ANNOTATION}.serializeAnnotation()"))

    def wait_until_images_are_loaded(self, frame: int) -> None:
        """Of a frame that the pagers show or are about to, and until Label Studio has done what it does after that."""
        self._wait_for(
            f"([images, frame]) => images.every(name => {{ const image = {_ANNOTATION}.names.get(name);"
            " return image.currentImage === frame && image.currentImageEntity.imageLoaded; })",
            [self._images, frame],
        )
        self.page.evaluate("() => new Promise(done => setTimeout(done))")

    def wait_until_a_draft_is_saved(self) -> None:
        """Of everything that was changed."""
        self._wait_for(f"() => {{ const {{ autosave, isDraftSaving }} = {_ANNOTATION}; autosave.flush(); return !isDraftSaving; }}")

    def picture(self, name: str, image: str | None = None) -> None:
        """A screenshot, scrolled to one of the images or to the top."""
        self._scroll_to(image or self._images[0])
        self.page.screenshot(path=self._pictures / f"{name}.png")

    def _drag(self, image: str, pixels: Sequence[Pixel]) -> None:
        placement = self._place(image)
        points = [placement.to_screen(pixel) for pixel in pixels]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for x, y in points[1:]:
            self.page.mouse.move(x, y, steps=8)
        self.page.mouse.up()

    def _accepted(self, response: Response) -> Result:
        assert response.ok, response.text()
        answer = dict(response.json())
        assert "errors" not in answer, answer["errors"]
        self._wait_for(f"() => !window.Htx.awaitingSuggestions && {_ANNOTATION}.suggestions.size === 0")
        return dict(answer["data"])

    def _label_row(self, tag: str) -> Locator:
        return self.page.locator(".lsf-labels").nth(self._label_rows.index(tag))

    def _scroll_to(self, image: str) -> None:
        self.page.evaluate(f"(name) => {_ANNOTATION}.names.get(name).stageRef.container().scrollIntoView({{block: 'center'}})", image)

    def _place(self, image: str) -> _Placement:
        self._scroll_to(image)
        numbers = self.page.evaluate(
            f"(name) => {{ const image = {_ANNOTATION}.names.get(name); const box = image.stageRef.container().getBoundingClientRect();"
            " return [box.x, box.y, image.stageWidth, image.stageHeight, image.naturalWidth, image.naturalHeight]; }",
            image,
        )
        return _Placement(*numbers)

    def _wait_until_shown(self) -> None:
        self._wait_for(
            "(images) => { const annotation = window.Htx?.annotationStore?.selected;"
            " return annotation && images.every(name => {"
            " const image = annotation.names.get(name); return image?.stageRef && image.currentImageEntity.imageLoaded; }); }",
            self._images,
        )

    def _wait_for(self, condition: str, argument: object = None) -> None:
        self.page.wait_for_function(condition, arg=argument)

    def _note_message(self, message: ConsoleMessage) -> None:
        # The browser's own line about a failed download names no project of ours: `_note_response` says which address it was.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(f"console: {message.text}")

    def _note_exception(self, error: Error) -> None:
        self.errors.append(f"exception: {error}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400 and not response.url.endswith(LABEL_STUDIO_NOISE):
            self.errors.append(f"{response.request.method} {response.url} answered {response.status}")

    def _note_failed_request(self, request: Request) -> None:
        # Leaving a page aborts what it still downloads.
        if request.failure != "net::ERR_ABORTED":
            self.errors.append(f"{request.method} {request.url} failed: {request.failure}")


def _is_interactive_answer(response: Response) -> bool:
    return response.url.split("?")[0].endswith("/interactive-annotating")


def _is_submission(response: Response) -> bool:
    return "/annotations" in response.url and response.request.method in ("POST", "PATCH")
