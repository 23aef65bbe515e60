"""The 3D view in a browser: how soon a picture is there, how many per second while the view moves, how long a step to another frame takes.

    python benchmarks/viewer.py [--points 200000] [--cuboids 50] [--frames 100] [--hardware] [--json]

A made-up drive, served from this machine, without Label Studio around it (benchmarks/opening.py is with it). Without --hardware the browser
draws in software (SwiftShader), as on a machine without a graphics card. Needs the built page (`make backend/viewer/dist/index.html`),
Playwright and Chromium (CHROMIUM names it where it is not /usr/bin/chromium).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from playwright.sync_api import Page, sync_playwright

from backend.viewer_page import PAGE
from converters.cloud_file import encode_cloud
from converters.coco_rle import encode_rle
from converters.viewer_clip import describe_clip
from sam4d.geometry import SE3
from sam4d.structures import Clip, Cuboid, Float32Array, Frame, Sweep

OPENINGS = 3
STEPS = 12
SECONDS_IN_MOTION = 6
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-precise-memory-info"]
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

SHOW_OBJECTS = """(objects) => {
    const { workspace } = window.sam4d;
    workspace.objects = new Map(objects.map(({ id, cuboid, points, count }) => {
        const answered = { score: 1, agreement: null, byHand: false, cameras: 0, regionIds: [], rectangleId: null, drawn: false };
        const part = { ...answered, cuboid, points, pointCount: count };
        const frames = new Map(Array.from({ length: workspace.frameCount }, (_, frame) => [frame, part]));
        return [id, { id, label: "Car", frames, score: 1, agreement: null, drawn: false }];
    }));
    workspace.tell("objects");
    workspace.select(1);
}"""
PICTURES_PER_SECOND = """async ([seconds, moving]) => {
    const { stage } = window.sam4d;
    const gl = stage.renderer.getContext();
    const pixel = new Uint8Array(4);
    const [x, y, z, ...target] = stage.pose;
    const began = performance.now(), before = stage.drawnCount;
    stage.onMove(moving);
    for (let angle = 0; performance.now() - began < 1000 * seconds; angle += 0.02) {
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        stage.pose = [c * x - s * y, s * x + c * y, z, ...target];
        await new Promise(requestAnimationFrame);
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // waits until it is drawn
    }
    stage.onMove(false);
    return (1000 * (stage.drawnCount - before)) / (performance.now() - began);
}"""
STEP_SECONDS = """async (frame) => {
    const { workspace, viewport, stage } = window.sam4d;
    const gl = stage.renderer.getContext();
    const began = performance.now();
    workspace.showFrame(frame);
    while (viewport.shownFrame !== frame) await new Promise((done) => setTimeout(done));
    await new Promise(requestAnimationFrame);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
    return (performance.now() - began) / 1000;
}"""
FIRST_PICTURE = "() => performance.getEntriesByName('sam4d first picture')[0]?.startTime"
BEGINS = "() => performance.getEntriesByName('sam4d begins')[0].startTime"


def made_up_sweep(points: int, cuboids: list[Cuboid], seed: int) -> Float32Array:
    """float32 (N, 3), metres, LiDAR frame: a flat street, a third of the points on the cuboids."""
    random = np.random.default_rng(seed)
    each = points // 3 // max(1, len(cuboids))
    parts = []
    for cuboid in cuboids:
        shell = random.uniform(-0.5, 0.5, (each, 3))
        shell[np.arange(each), random.integers(0, 3, each)] = random.choice([-0.5, 0.5], each)
        parts.append(cuboid.lidar_SE3_cuboid.apply(shell * np.array(cuboid.size_lwh_m)))
    rest = points - sum(len(part) for part in parts)
    distance_m, angle = 3 + 77 * random.random(rest) ** 1.5, random.uniform(-np.pi, np.pi, rest)
    parts.append(np.stack([distance_m * np.cos(angle), distance_m * np.sin(angle), random.normal(-1.8, 0.02, rest)], axis=1))
    return np.concatenate(parts).astype(np.float32)


def made_up_files(point_count: int, cuboid_count: int, frame_count: int) -> tuple[dict[str, tuple[str, bytes]], list[dict[str, object]]]:
    """What is served, {path: (content type, content)}, and the objects as the page holds them; every frame has the same sweep."""
    random = np.random.default_rng(0)
    centres_m, yaws = random.uniform((-50, -30), (50, 30), (cuboid_count, 2)), random.uniform(-3, 3, cuboid_count)
    cuboids = [Cuboid((float(x), float(y), -1.0), (4.4, 1.9, 1.6), float(yaw)) for (x, y), yaw in zip(centres_m, yaws, strict=True)]
    sweep = Sweep(made_up_sweep(point_count, cuboids, seed=1))
    poses = [SE3(np.eye(3), np.array([0.7 * index, 0.0, 0.0])) for index in range(frame_count)]
    frames = tuple(Frame(load_sweep=lambda: sweep, load_images={}, world_SE3_lidar=pose) for pose in poses)
    description = describe_clip(Clip("made up", {}, frames), [f"/cloud?{index}" for index in range(frame_count)], {})
    files = {
        "/sam4d.html": ("text/html", PAGE.read_bytes()),
        "/viewer.json": ("application/json", json.dumps(description).encode()),
        "/cloud": ("application/octet-stream", encode_cloud(sweep)),
    }
    objects: list[dict[str, object]] = []
    for number, cuboid in enumerate(cuboids, start=1):
        inside = cuboid.contains(sweep.points_m, margin_m=0.05)
        place = {"center_m": cuboid.center_m, "size_lwh_m": cuboid.size_lwh_m, "yaw_rad": cuboid.yaw_rad}
        objects.append({"id": number, "cuboid": place, "points": encode_rle(inside), "count": int(inside.sum())})
    return files, objects


@contextmanager
def served(files: dict[str, tuple[str, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = files.get(self.path.split("?")[0], ("text/plain", b""))
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def opened(page: Page, address: str) -> tuple[float, float]:
    """Seconds until the page's script begins, and from there to its first picture."""
    page.goto(address)
    page.wait_for_function(FIRST_PICTURE)
    begins_ms, picture_ms = float(page.evaluate(BEGINS)), float(page.evaluate(FIRST_PICTURE))
    return begins_ms / 1000, (picture_ms - begins_ms) / 1000


def measure(page: Page, address: str, objects: list[dict[str, object]], frame_count: int) -> dict[str, float]:
    openings = [opened(page, address) for _ in range(OPENINGS)]
    page.evaluate(SHOW_OBJECTS, objects)
    thinned, whole = (page.evaluate(PICTURES_PER_SECOND, [SECONDS_IN_MOTION, moving]) for moving in (True, False))
    steps = range(1, min(STEPS, frame_count))
    step_s = [page.evaluate(STEP_SECONDS, frame) for frame in steps]
    for frame in range(STEPS, frame_count):
        page.evaluate(STEP_SECONDS, frame)
    memory = page.evaluate("() => [performance.memory?.usedJSHeapSize ?? NaN, window.sam4d.workspace.sweeps.heldFrames.length]")
    return {
        "page_loaded_s": statistics.median(loaded for loaded, _ in openings),
        "first_picture_s": statistics.median(loaded + drawn for loaded, drawn in openings),
        "pictures_per_s_in_motion": thinned,
        "pictures_per_s_all_points": whole,
        "step_s": statistics.median(step_s),
        "heap_mb": memory[0] / 1e6,
        "sweeps_held": memory[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--cuboids", type=int, default=50)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--hardware", action="store_true", help="draw with the graphics card")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    files, objects = made_up_files(arguments.points, arguments.cuboids, arguments.frames)
    with served(files) as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS + ([] if arguments.hardware else SOFTWARE)
        )
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.set_default_timeout(120_000)
        address = f"{root}/sam4d.html?clip=/viewer.json&first=0&count={arguments.frames}&cloud=/cloud%3F0"
        figures = measure(page, address, objects, arguments.frames)
        browser.close()
    if arguments.json:
        print(json.dumps(figures))
        return
    drawn_by, wanted = ("graphics card", 30) if arguments.hardware else ("software", 5)
    print(f"{arguments.points} points, {arguments.cuboids} cuboids, {arguments.frames} frames, drawn by {drawn_by}")
    print(f"first picture               {figures['first_picture_s']:6.2f} s    (wanted: under 3)")
    print(f"  before the script begins  {figures['page_loaded_s']:6.2f} s")
    print(f"in motion                   {figures['pictures_per_s_in_motion']:6.1f} /s   (wanted: {wanted} or more)")
    print(f"in motion, all points drawn {figures['pictures_per_s_all_points']:6.1f} /s")
    print(f"another frame, median       {figures['step_s']:6.2f} s    (wanted: under 0.3)")
    print(f"memory of the page          {figures['heap_mb']:6.0f} MB   with {figures['sweeps_held']:.0f} sweeps of {arguments.frames} held")


if __name__ == "__main__":
    main()
