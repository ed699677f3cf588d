"""The window on a real display (Xvfb), operated by simulated mouse and key events.

Each test has its own process, since Tk needs the main thread.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("tkinter", reason="needs tkinter (Debian: python3-tk)")

ROBOT = """
import json, sys, threading, time
import numpy as np
from types import SimpleNamespace
from relo_jax.media import overlay, window

def frame(t, height=300, width=400):
    image = np.full((height, width, 3), (30, 40, 60), np.uint8)
    image[:, t % width] = 255
    return image

def mouse(shown, what, x, y):
    shown._canvas.event_generate(f"<{what}>", x=x, y=y)

def drag(shown, *points):
    mouse(shown, "ButtonPress-1", *points[0])
    for point in points[1:]:
        mouse(shown, "B1-Motion", *point)
    mouse(shown, "ButtonRelease-1", *points[-1])

def key(shown, name):
    if shown._root.focus_displayof() is None:  # there is no window manager to give it the focus
        shown._root.focus_force()
        return False
    shown._root.event_generate(f"<{name}>")

def robot(shown, *steps):
    '''Runs the steps, 0.2 s apart, after the first picture is drawn; a step that returns False is tried again.'''
    def step():
        if shown._drawn is None or not shown._canvas.winfo_viewable():
            return shown._root.after(50, step)
        if steps_left:
            if steps_left[0]() is False:
                return shown._root.after(50, step)
            steps_left.pop(0)
            shown._root.after(200, step)
    steps_left = list(steps)
    shown._root.after(50, step)

def frames():
    return SimpleNamespace(live=False, stop=threading.Event())

out = {}
"""


@pytest.fixture(scope="module")
def display():
    """The name of a virtual display of 1000 x 800 pixels."""
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb (Debian: xvfb)")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def play(display):
    """Runs a script after ROBOT, and returns its dict `out`."""

    def run(script):
        code = ROBOT + textwrap.dedent(script) + "\nprint(json.dumps(out))\n"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "DISPLAY": display}, capture_output=True, text=True,
            timeout=120, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def test_a_target_is_selected_followed_paused_and_selected_again(play):
    """The whole use of a window, with mouse and keys; the box is on the screen where the result has it."""
    out = play("""
        from PIL import ImageGrab
        shown_frames = frames()
        def work():
            first, box = shown.ask(shown_frames, frame(0))
            out["first"] = box
            t, again = 0, []
            while not shown_frames.stop.is_set():
                t += 1
                selection = shown.show(frame(t), [SimpleNamespace(box=(200, 100, 80, 60), score=0.9, found=True)] * 2)
                out["frames"] = t
                if selection is not None:
                    again.append([selection.index, int(selection.frame[0].argmax() // 3), *selection.box])
                time.sleep(0.01)
            out["again"] = again
            return "the summary"

        def pause():
            if key(shown, "space") is False:
                return False
            out["paused_at"] = out["frames"]

        def grab_screen():
            out["moved"] = out["frames"] - out["paused_at"]
            image = np.asarray(ImageGrab.grab(xdisplay=""))[:, :, :3].astype(int)
            out["pixels"] = [list(map(int, image[130, 200])), list(map(int, image[130, 240]))]

        with window.open_window("film.mp4", "") as shown:
            robot(shown,
                lambda: drag(shown, (50, 60), (70, 90), (150, 140)),
                lambda: out.get("frames", 0) > 5,
                pause, grab_screen,
                lambda: key(shown, "Key-2"),
                lambda: drag(shown, (300, 200), (250, 150)),
                lambda: out.update(title=shown._root.title()),
                lambda: drag(shown, (10, 10), (11, 11)),
                lambda: key(shown, "space"),
                lambda: out["frames"] > out["paused_at"] + 5,
                lambda: mouse(shown, "ButtonPress-1", 20, 20),
                lambda: out.update(pressed_at=out["frames"]),
                lambda: out.update(while_pressed=out["frames"] - out["pressed_at"]),
                lambda: mouse(shown, "ButtonRelease-1", 21, 21),
                lambda: key(shown, "q"),
            )
            out["summary"] = shown.run(work, shown_frames.stop.set)
        out["colours"] = [overlay.FOUND, overlay.COLOURS[1]]
    """)
    assert out["first"] == [50, 60, 100, 80]
    assert out["moved"] <= 1 and out["while_pressed"] <= 1
    assert out["title"] == "relo - film.mp4 - target 2 - paused"
    ((index, number, *box),) = out["again"]  # a click is not a selection
    assert index == 1 and box == [250, 150, 50, 50] and abs(number - out["paused_at"] % 400) <= 1  # of 400 columns
    assert out["pixels"][0] in out["colours"] and out["pixels"][1] == [30, 40, 60]
    assert out["summary"] == "the summary"


def test_relo_track_follows_the_targets_selected_with_the_mouse(play, tmp_path):
    """A first target is selected at the start, and another one while the window is paused."""
    out = play(f"""
        import contextlib, cv2, io
        from pathlib import Path
        from relo_jax.tracking.session import track_to_files

        path, open_window = Path({str(tmp_path / "o.jsonl")!r}), window.open_window
        picture = cv2.resize(np.random.default_rng(0).integers(90, 130, (30, 40, 3), np.uint8), (400, 300))
        for (x, y, w, h), colour in (((50, 60, 100, 80), (230, 60, 30)), ((250, 150, 50, 50), (20, 60, 220))):
            picture[y : y + h, x : x + w] = colour  # two things that stand still
            picture[y + h // 4 : y + h // 2, x + w // 4 : x + w // 2] = 250
        def rows():
            return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []

        @contextlib.contextmanager
        def watched(*args):
            with open_window(*args) as shown:
                robot(shown,
                    lambda: drag(shown, (50, 60), (150, 140)),
                    lambda: len(rows()) > 3,
                    lambda: key(shown, "space"),
                    lambda: out.update(paused_at=len(rows())),
                    lambda: out.update(moved=len(rows()) - out["paused_at"]),
                    lambda: out.update(before=len(rows())) or drag(shown, (300, 200), (250, 150)),
                    lambda: key(shown, "space"),
                    lambda: len(rows()) > out["before"] + 3,
                    lambda: key(shown, "q"),
                )
                yield shown

        window.open_window = watched
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()) as stdout:
            track_to_files((picture for _ in range(10_000)), json_path=path)
        out.update(rows=rows(), stdout=stdout.getvalue())
    """)
    boxes, before = [row["box"] for row in out["rows"]], out["before"]
    assert boxes[0] == [50, 60, 100, 80] and out["moved"] <= 1
    for selected, followed in (((100, 100), boxes[:before]), ((275, 175), boxes[before:])):
        assert all(abs(x + w / 2 - selected[0]) < 60 and abs(y + h / 2 - selected[1]) < 60 for x, y, w, h in followed)
    assert f"interrupted after {len(boxes)} frames" in out["stdout"]


def test_a_large_frame_is_shown_smaller_and_the_box_is_in_its_own_pixels(play):
    out = play("""
        shown_frames = frames()
        def work():
            out["box"] = shown.ask(shown_frames, frame(0, 1600, 2000))[1]
        with window.open_window("film.mp4", "") as shown:
            robot(shown, lambda: out.update(size=shown._size), lambda: drag(shown, (80, 160), (240, 240)))
            shown.run(work, shown_frames.stop.set)
    """)
    assert out["size"] == [800, 640]  # of 1000 x 800
    assert out["box"] == pytest.approx([200, 400, 400, 200], abs=3)


def test_a_live_source_plays_on_until_the_mouse_is_pressed(play):
    out = play("""
        from relo_jax.media.frames import Frames
        images = (time.sleep(0.01) or frame(t) for t in range(1000))
        source = Frames("camera 0", None, 30, images, live=True)
        def work():
            image, box = shown.ask(source, frame(0))
            out["box"], out["after"] = box, int(next(iter(source))[0].argmax() - image[0].argmax()) // 3
        with window.open_window("camera 0", "") as shown:
            robot(shown, lambda: None, lambda: drag(shown, (50, 60), (150, 140)))
            shown.run(work, source.stop.set)
    """)
    assert out["box"] == [50, 60, 100, 80] and 1 <= out["after"] < 100  # the source did not play to its end


@pytest.mark.parametrize(
    "close", ["key(shown, 'Escape')", "shown._root.tk.eval(shown._root.protocol('WM_DELETE_WINDOW')) and None"]
)
def test_closing_the_window_ends_the_selection(play, close):
    out = play(f"""
        shown_frames = frames()
        with window.open_window("film.mp4", "") as shown:
            robot(shown, lambda: {close})
            try:
                shown.run(lambda: shown.ask(shown_frames, frame(0)), shown_frames.stop.set)
            except KeyboardInterrupt:
                out["interrupted"] = True
    """)
    assert out["interrupted"]


def test_an_error_of_the_tracking_thread_is_raised_in_the_main_thread(play):
    out = play("""
        from relo_jax.errors import UserError
        def work():
            shown.show(frame(0), [])
            raise UserError("frame 3 does not decode")
        with window.open_window("film.mp4", "") as shown:
            try:
                shown.run(work, lambda: None)
            except UserError as error:
                out["error"] = str(error)
    """)
    assert out["error"] == "frame 3 does not decode"


def test_a_second_ctrl_c_ends_at_once(play):
    """The first asks the tracking to stop, which it ignores here; the second closes the window."""
    out = play("""
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
        def work():
            for t in range(800):  # 40 s
                shown.show(frame(t), [])
                time.sleep(0.05)
            out["work"] = "ended by itself"
        with window.open_window("film.mp4", "") as shown:
            # raise_signal acts in this thread at once; another thread could receive a signal sent to the process.
            robot(shown, lambda: signal.raise_signal(signal.SIGINT))
            try:
                shown.run(work, lambda: None)
            except KeyboardInterrupt:
                out["window"] = "closed"
    """)
    assert out == {"window": "closed"}
