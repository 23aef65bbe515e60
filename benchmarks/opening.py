"""How soon the 3D view shows its first picture when a task is opened in Label Studio, and whose work the time before that goes into.

    python benchmarks/opening.py [--directory .sam4d] [--regions all|cuboids|none] [--from-list] [--openings 3] [--hardware] [--json]

Opens the first task of the first project of a running `sam4d demo` or `sam4d up`, by its address with the browser's cache warm, or with
--from-list by a click in the list of tasks, where Label Studio itself is there already. Seconds by the clock, and seconds of processor time
of the thread that Label Studio and the 3D view share: those say the same on a busy machine. --regions leaves regions of the task's
predictions out, to see what they cost. Without --hardware WebGL is drawn in software. Needs Playwright and Chromium (CHROMIUM names it
where it is not /usr/bin/chromium).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from playwright.sync_api import Browser, Page, Route, sync_playwright

from backend.embedded import Login, Workplace

TraceEvent: TypeAlias = dict[str, Any]

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SOFTWARE = ["--enable-unsafe-swiftshader"]
CATEGORIES = ["devtools.timeline", "blink.user_timing", "toplevel"]
BEGINS, FIRST_PICTURE = "sam4d begins", "sam4d first picture"
OPENED = "sam4d task opened"
PAGE = "sam4d.html"
STEPS = {
    "asks for the task": "Label Studio's application, its lists of projects and tasks",
    "3D view's frame": "Label Studio's editor: made, filled with the regions, its last frame for the 3D view made",
    "3D view begins": "the page comes, between the editor's drawing of images and masks",
    "first picture": "the 3D view itself, and what the editor draws meanwhile",
}


@dataclass(frozen=True)
class Opening:
    """Seconds from opening a task until each of STEPS is reached, by the clock and of the main thread's processor time.

    frames_made: how often Label Studio made the 3D view's frame.
    """

    clock_s: dict[str, float]
    processor_s: dict[str, float]
    frames_made: int


def read_trace(events: list[TraceEvent]) -> Opening:
    picture = max((event for event in events if event["name"] == FIRST_PICTURE), key=lambda event: int(event["ts"]))
    ours = [event for event in events if event["pid"] == picture["pid"] and event["ts"] <= picture["ts"]]
    opened = [event["ts"] for event in ours if event["name"] == OPENED] or [
        event["ts"] for event in ours if event["name"] == "navigationStart" and "/data?task=" in _address(event)
    ]
    frames = [event["ts"] for event in ours if event["name"] == "navigationStart" and PAGE in _address(event)]
    asked = [event["ts"] for event in ours if event["name"] == "ResourceSendRequest" and "/api/tasks/" in event["args"]["data"]["url"]]
    begun = [event["ts"] for event in ours if event["name"] == BEGINS]
    reached = dict(zip(STEPS, (min(asked), max(frames), max(begun), picture["ts"]), strict=True))
    tasks = _whole_tasks([event for event in ours if event["tid"] == picture["tid"] and event["ts"] >= opened[0]])

    def processor_us(until: float) -> float:
        shares = [min(1.0, max(0.0, until - float(task["ts"])) / max(1.0, float(task["dur"]))) for task in tasks]
        return sum(share * float(task["tdur"]) for share, task in zip(shares, tasks, strict=True))

    return Opening(
        clock_s={step: (time_us - opened[0]) / 1e6 for step, time_us in reached.items()},
        processor_s={step: processor_us(time_us) / 1e6 for step, time_us in reached.items()},
        frames_made=len(frames),
    )


def _address(event: TraceEvent) -> str:
    return str(event["args"].get("data", {}).get("documentLoaderURL", ""))


def _whole_tasks(events: list[TraceEvent]) -> list[TraceEvent]:
    """Those that are not part of another."""
    tasks: list[TraceEvent] = []
    for event in sorted(
        (event for event in events if event["ph"] == "X" and "tdur" in event), key=lambda event: (event["ts"], -event["dur"])
    ):
        if not tasks or event["ts"] >= tasks[-1]["ts"] + tasks[-1]["dur"]:
            tasks.append(event)
    return tasks


def log_in(browser: Browser, login: Login, kept_types: set[str] | None) -> Page:
    """kept_types: types of results that predictions keep; None for all."""
    page = browser.new_context(viewport={"width": 1920, "height": 1200}).new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{login.label_studio_url}/user/login/")
    page.fill("input[name=email]", login.username)
    page.fill("input[name=password]", login.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)

    def leave_out(route: Route) -> None:
        response = route.fetch()
        task = response.json()
        for prediction in task.get("predictions", []):
            prediction["result"] = [result for result in prediction["result"] if kept_types is None or result["type"] in kept_types]
        route.fulfill(response=response, json=task)

    if kept_types is not None:
        page.route("**/api/tasks/*?*", leave_out)
    return page


def open_task(browser: Browser, page: Page, url: str, project: int, task: int, from_list: bool) -> Opening:
    if from_list:
        page.goto(f"{url}/projects/{project}/data")
        row = page.locator("[class*=row-wrapper]").first
        row.wait_for()
        page.wait_for_load_state("networkidle")
    else:
        page.goto("about:blank")
    session = browser.new_browser_cdp_session()
    events: list[TraceEvent] = []
    session.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": {"includedCategories": CATEGORIES}})
    if from_list:
        page.evaluate("(name) => performance.mark(name)", OPENED)
        row.click(position={"x": 300, "y": 20})
    else:
        page.goto(f"{url}/projects/{project}/data?task={task}", wait_until="commit")
    page.wait_for_function(
        "([page, mark]) => [...document.querySelectorAll('iframe')].some((frame) =>"
        " frame.src.includes(page) && frame.contentWindow.performance.getEntriesByName(mark).length)",
        arg=[PAGE, FIRST_PICTURE],
    )
    ended: list[object] = []
    session.on("Tracing.tracingComplete", lambda end: ended.append(end))
    session.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(50)
    session.detach()
    return read_trace(events)


def median(openings: list[Opening]) -> Opening:
    def of(values: list[dict[str, float]]) -> dict[str, float]:
        return {step: statistics.median(value[step] for value in values) for step in STEPS}

    frames_made = round(statistics.median(opening.frames_made for opening in openings))
    return Opening(of([opening.clock_s for opening in openings]), of([opening.processor_s for opening in openings]), frames_made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path(".sam4d"))
    parser.add_argument("--regions", choices=("all", "cuboids", "none"), default="all")
    parser.add_argument("--from-list", action="store_true")
    parser.add_argument("--openings", type=int, default=3)
    parser.add_argument("--hardware", action="store_true", help="draw with the graphics card")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    login = Workplace(arguments.directory.resolve()).read_login()
    url = login.label_studio_url
    kept = {"all": None, "cuboids": {"rectanglelabels", "number"}, "none": set[str]()}[arguments.regions]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS + ([] if arguments.hardware else SOFTWARE)
        )
        page = log_in(browser, login, kept)
        project = page.request.get(f"{url}/api/projects/").json()["results"][-1]["id"]
        task = page.request.get(f"{url}/api/tasks/?project={project}&page_size=1").json()["tasks"][0]["id"]
        # the first one fills the browser's cache
        openings = [open_task(browser, page, url, project, task, arguments.from_list) for _ in range(arguments.openings + 1)][1:]
        browser.close()
    opening = median(openings)
    if arguments.json:
        print(json.dumps({"clock_s": opening.clock_s, "processor_s": opening.processor_s, "frames_made": opening.frames_made}))
        return
    print(f"task {task} with {arguments.regions} regions, median of {arguments.openings}; its frame was made {opening.frames_made} times")
    print("by the clock  processor  from opening the task until")
    for step, meaning in STEPS.items():
        print(f"{opening.clock_s[step]:10.2f} s {opening.processor_s[step]:8.2f} s  {step:18} ({meaning})")


if __name__ == "__main__":
    main()
