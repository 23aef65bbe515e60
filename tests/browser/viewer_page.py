"""A labeller in the 3D view of a task: the page in Label Studio's page, its pointer and its keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page, Request, Response

from tests.browser.labelling_page import WAIT_SECONDS

FRAME_TITLE = "The drive in 3D"
_POLL_MS = 50


class ViewerPage:
    """The 3D view that is open in a page; made once it shows a cloud.

    Args:
        page: Label Studio's page with the task open, or the 3D view's own address.
        pictures: folder for the screenshots.
    """

    def __init__(self, page: Page, pictures: Path) -> None:
        self.page = page
        self._pictures = pictures
        self.frame = self._find()

    def _find(self) -> Frame:
        """The frame may be made anew while Label Studio settles."""
        waited = 0
        while waited < 1000 * WAIT_SECONDS:
            for frame in self.page.frames:
                if "sam4d.html" in frame.url and frame.evaluate("() => (window.sam4d?.viewport.shownFrame ?? -1) >= 0"):
                    return frame
            self.page.wait_for_timeout(_POLL_MS)
            waited += _POLL_MS
        raise AssertionError(f"no 3D view within {WAIT_SECONDS:g} s")

    def wait_until_editable(self) -> None:
        self.frame.wait_for_function("() => window.sam4d.workspace.canEdit")

    def wait_until_idle(self) -> None:
        """Until nothing is being asked or followed."""
        self.frame.wait_for_function("() => !window.sam4d.workspace.requests.work")

    def picture(self, name: str) -> None:
        self.frame.locator("#app").screenshot(path=self._pictures / f"{name}.png")

    def press(self, key: str) -> None:
        """A key, with the pointer over the 3D view as a labeller's is."""
        self.frame.locator(".stage").focus()
        self.page.keyboard.press(key)

    def show_frame(self, index: int) -> None:
        self.frame.locator(f"[data-frame='{index}']").click()
        self.frame.wait_for_function("(frame) => window.sam4d.viewport.shownFrame === frame", arg=index)

    def choose_label(self, label: str) -> None:
        self.frame.get_by_label("Label", exact=True).select_option(label)

    def click_point(self, position_m: Sequence[float], *, negative: bool = False) -> None:
        """A click where a place of the LiDAR frame is on the screen, and all that follows from it."""
        with self.page.expect_response(is_interactive_answer):
            self._click(position_m, ["Alt"] if negative else [])
        self.wait_until_idle()

    def click_without_waiting(self, position_m: Sequence[float]) -> None:
        """A click that asks nothing, or whose answer does not come."""
        self._click(position_m, [])

    def drag_box(self, low_m: Sequence[float], high_m: Sequence[float]) -> None:
        """A box on the screen around two places, and all that follows from it."""
        stage = self.frame.locator(".stage").bounding_box()
        assert stage is not None
        (u0, v0), (u1, v1) = self._pixel(low_m), self._pixel(high_m)
        with self.page.expect_response(is_interactive_answer):
            self.page.mouse.move(stage["x"] + u0, stage["y"] + v0)
            self.page.mouse.down()
            self.page.mouse.move(stage["x"] + u1, stage["y"] + v1, steps=6)
            self.page.mouse.up()
        self.wait_until_idle()

    def drag_image_box(self, camera: str, box_px: Sequence[float]) -> dict[str, Any]:
        """A box over a camera's own view, in pixels of its image, and all that follows from it; returns what was asked."""
        stage = self.frame.locator(".stage").bounding_box()
        assert stage is not None
        u0, v0, u1, v1 = self.frame.evaluate(
            """([tag, box]) => {
                const { width, height } = window.sam4d.stage;
                const { width_px, height_px } = window.sam4d.workspace.clip.cameras[tag];
                const scale = Math.min(width / width_px, height / height_px);
                return box.map((value, k) => value * scale + (k % 2 ? height - scale * height_px : width - scale * width_px) / 2);
            }""",
            [camera, [float(value) for value in box_px]],
        )
        with self.page.expect_request(is_interactive_request) as asked:
            self.page.mouse.move(stage["x"] + u0, stage["y"] + v0)
            self.page.mouse.down()
            self.page.mouse.move(stage["x"] + u1, stage["y"] + v1, steps=6)
            self.page.mouse.up()
        self.wait_until_idle()
        posted = asked.value.post_data_json
        assert posted is not None
        return dict(posted["context"]["sam4d"])

    def look_through(self, camera: str) -> None:
        """By a camera's image tag."""
        self.frame.get_by_label("Camera view", exact=True).select_option(camera)

    def relabel(self, number: int, label: str) -> None:
        """Of the selected object."""
        self.frame.get_by_label(f"Label of #{number}", exact=True).select_option(label)

    def _click(self, position_m: Sequence[float], keys: list[Any]) -> None:
        u, v = self._pixel(position_m)
        self.frame.locator(".stage").click(position={"x": u, "y": v}, modifiers=keys)

    def _pixel(self, position_m: Sequence[float]) -> tuple[float, float]:
        u, v = self.frame.evaluate(
            """([x, y, z]) => {
                const { elements: m, width_px, height_px } = window.sam4d.stage.projection;
                const at = (k) => m[k] * x + m[k + 4] * y + m[k + 8] * z + m[k + 12];
                return [(at(0) / at(3) + 1) / 2 * width_px, (1 - at(1) / at(3)) / 2 * height_px];
            }""",
            [float(value) for value in position_m],
        )
        return float(u), float(v)

    def look_from_above(self) -> None:
        self.press("2")

    def drag_handle(self, panel: str, handle: str, by_px: tuple[float, float]) -> None:
        """A handle of the selected cuboid in one of its views."""
        box = self.frame.locator(f"[data-panel='{panel}'] [data-handle='{handle}']").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by_px[0], y + by_px[1], steps=6)
        self.page.mouse.up()

    def pixels_per_metre(self, panel: str) -> float:
        """Of a view of the selected cuboid."""
        number = ["top", "side", "rear"].index(panel)
        return float(self.frame.evaluate(f"() => window.sam4d.cuboids.panels[{number}].pixelsPerMetre"))

    def press_button(self, text: str) -> None:
        self.frame.get_by_role("button", name=text, exact=True).click()

    def cuboid(self, frame_index: int) -> dict[str, Any] | None:
        """Of the selected object."""
        shown: dict[str, Any] | None = self.frame.evaluate(
            "(frame) => window.sam4d.workspace.selectedObject?.frames.get(frame)?.cuboid ?? null", frame_index
        )
        return shown

    @property
    def listed(self) -> list[dict[str, str]]:
        """The object list as it is read: number, label, frames."""
        rows: list[dict[str, str]] = self.frame.evaluate(
            "() => [...document.querySelectorAll('[data-object]')].map(row => { const cells = [...row.cells].map(cell => cell.textContent);"
            " const choice = row.querySelector('select');"
            " return { number: cells[1], label: choice ? choice.value : cells[2], frames: cells[3] }; })"
        )
        return rows

    @property
    def timeline(self) -> list[str]:
        """What each frame's cell says of the selected object: "", "there" or "by-hand"."""
        classes: list[str] = self.frame.evaluate("() => [...document.querySelectorAll('.cell')].map(cell => cell.className)")
        return ["by-hand" if "by-hand" in name else "there" if "there" in name else "" for name in classes]

    @property
    def shown_frame(self) -> int:
        return int(self.frame.evaluate("() => window.sam4d.viewport.shownFrame"))

    def wait_for_pagers(self, index: int) -> None:
        """Until all of Label Studio's own pagers show a frame."""
        self.page.wait_for_function(
            "(frame) => [...window.Htx.annotationStore.selected.names.values()]"
            ".every(tag => tag.type !== 'image' || tag.currentImage === frame)",
            arg=index,
        )

    @property
    def notice(self) -> str:
        """What the page says, or nothing."""
        notice = self.frame.locator(".notice")
        return notice.text_content() or "" if notice.is_visible() else ""


def is_interactive_request(request: Request) -> bool:
    return request.url.split("?")[0].endswith("/interactive-annotating")


def is_interactive_answer(response: Response) -> bool:
    return response.url.split("?")[0].endswith("/interactive-annotating")
