"""A window that shows the tracking, if there is a display: pause, select with the mouse, quit.

Tk needs the main thread; tracking runs in another (`Window.run`). The two exchange only the latest frame: drawing does
not slow the tracking down, and frames that come faster than they can be drawn are not shown. While the mouse button is
down the tracker waits, so that a dragged box belongs to the frame on the screen.

    space  pause and continue        drag  select the target (again)
    1-9    choose which of several targets a drag selects           q, Esc  quit
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.frames import Frames
from relo_jax.media.overlay import COLOURS, Result, draw

if TYPE_CHECKING:  # many installations of Python have no tkinter
    import tkinter

_POLL = 15  # milliseconds between checks for a new frame
_MIN_DRAG = 4  # pixels of the frame: a shorter drag is a click
_MAX_SHARE = 0.8  # of the screen, for a new window
_KEPT: list[tkinter.Tk] = []  # Tcl aborts the process if an interpreter is collected in another thread than its own

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Selection:
    """A box that was dragged: the index of the target, the frame, and x, y, w, h in pixels of the frame."""

    index: int
    frame: np.ndarray
    box: tuple[float, float, float, float]


def is_expected() -> bool:
    """Whether a user probably expects a window: there are a terminal, a display and Tk."""
    has_display = sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY"))
    return has_display and sys.stdout.isatty() and importlib.util.find_spec("_tkinter") is not None


@contextlib.contextmanager
def open_window(title: str, remedy: str) -> Iterator[Window]:
    """Opens a Window, and closes it at the end of the block.

    Args:
      title: of the window.
      remedy: what the error message advises if there can be no window.

    Raises:
      UserError: there is no display or no Tk, or this is not the main thread.
    """
    try:
        import tkinter
    except ImportError as error:
        raise UserError(f"no window can be shown (Python has no tkinter; Debian: python3-tk): {remedy}") from error
    if threading.current_thread() is not threading.main_thread():
        raise UserError(f"no window can be shown: it needs the main thread: {remedy}")
    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        raise UserError(f"no window can be shown ({error}): {remedy}") from error
    _KEPT.append(root)
    window = Window(tkinter, root, title)
    try:
        yield window
    finally:
        window.release_image()
        with contextlib.suppress(tkinter.TclError):
            root.destroy()


class Window:
    """`show` and `ask` are for the thread that tracks, `run` is for the main thread."""

    def __init__(self, tkinter: ModuleType, root: tkinter.Tk, title: str):
        self._tk, self._root, self._title = tkinter, root, title
        self._canvas = tkinter.Canvas(root, width=640, height=480, background="black", highlightthickness=0)
        self._canvas.pack(fill="both", expand=True)
        self._image = self._canvas.create_image(0, 0, anchor="nw")
        # Shared by the threads.
        self._lock, self._may_track, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._may_track.set()
        self._latest: tuple[np.ndarray, list[Result]] | None = None
        self._selection: Selection | None = None
        self._label = ""
        # On the screen: a frame and its results, the size of the canvas, and the place of the frame in it.
        self._drawn: np.ndarray | None = None
        self._results: list[Result] = []
        self._size: tuple[int, int] | None = None
        self._scale, self._corner = 1.0, (0, 0)
        self._start: tuple[int, int] | None = None  # of a drag
        self._photo = self._rectangle = self._failure = None
        self._is_paused, self._index = False, 0
        self._canvas.bind("<ButtonPress-1>", self._press)
        self._canvas.bind("<B1-Motion>", self._drag)
        self._canvas.bind("<ButtonRelease-1>", self._release)
        for key in ("q", "Q", "<Escape>"):
            root.bind(key, lambda event: self._close())
        for digit in range(1, 10):
            root.bind(f"<Key-{digit}>", self._choose)
        root.bind("<space>", lambda event: self._pause())
        root.protocol("WM_DELETE_WINDOW", self._close)
        self._update_title()

    # The thread that tracks.

    def show(self, frame: np.ndarray, results: list[Result]) -> Selection | None:
        """Shows a frame with its results, and waits while the window is paused. Returns a new selection, if any."""
        with self._lock:
            self._latest = frame, results
        while not self._closed.is_set() and not self._may_track.wait(0.1):
            pass
        with self._lock:
            selection, self._selection = self._selection, None
        return selection

    def ask(self, frames: Frames, first: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """Lets the user select the target in the first frame. A live source plays on until the mouse is pressed.

        Returns:
          the frame and the box_xywh in it.

        Raises:
          KeyboardInterrupt: the window was closed, or the source ended.
        """
        self._label = "drag a box around the target"
        frame: Any = first
        while frame is not None and not self._closed.is_set() and not frames.stop.is_set():
            selection = self.show(frame, [])
            if selection is not None:
                self._label = ""
                return selection.frame, selection.box
            if frames.live:
                frame = next(iter(frames), None)
            else:
                frames.stop.wait(0.05)
        raise KeyboardInterrupt

    # The main thread.

    def run(self, work: Callable[[], Answer], stop: Callable[[], object]) -> Answer:
        """Runs `work` in a thread and the window in this one. Closing the window calls `stop`, which should end `work`.

        Returns what `work` returns, and raises what it raises.
        """
        answers: list[Answer] = []
        errors: list[BaseException] = []

        def run_work():
            try:
                answers.append(work())
            except BaseException as error:
                errors.append(error)

        def fail(kind, error, trace):
            self._failure = error
            self._root.quit()

        def poll():
            if self._closed.is_set():
                stop()
            if not thread.is_alive():
                self._root.quit()
                return
            self._draw()
            self._root.after(_POLL, poll)

        # A second Ctrl-C, or a defect of ours: by default Tk prints an exception and continues.
        self._root.report_callback_exception = fail
        thread = threading.Thread(target=run_work, daemon=True)
        thread.start()
        self._root.after(0, poll)
        self._root.focus_force()
        self._root.mainloop()
        self._close()
        if self._failure is not None:
            stop()
            thread.join(2.0)
            raise self._failure
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    def release_image(self) -> None:
        """Frees the image. Its finalizer uses Tk, so this must come before Tk is closed."""
        self._photo = None

    def _draw(self) -> None:
        """Draws a new frame, or the old one if the window changed its size. During a drag the frame stays."""
        with self._lock:
            latest, self._latest = (None, self._latest) if self._start else (self._latest, None)
        size = self._canvas.winfo_width(), self._canvas.winfo_height()
        if latest is None and (self._drawn is None or self._start or size == self._size):
            return
        frame, self._results = latest if latest is not None else (self._drawn, self._results)
        assert frame is not None
        self._drawn, (height, width) = frame, frame.shape[:2]
        if self._size is None:
            screen = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
            scale = min(1.0, *(_MAX_SHARE * room / side for room, side in zip(screen, (width, height), strict=True)))
            size = max(round(width * scale), 320), max(round(height * scale), 240)
            self._canvas.config(width=size[0], height=size[1])
        self._size, self._scale = size, min(size[0] / width, size[1] / height)
        shown_width, shown_height = max(round(width * self._scale), 1), max(round(height * self._scale), 1)
        self._corner = (size[0] - shown_width) // 2, (size[1] - shown_height) // 2
        image = draw(frame, self._results, label=self._label)
        if (shown_width, shown_height) != (width, height):
            interpolation = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (shown_width, shown_height), interpolation=interpolation)
        data = b"P6 %d %d 255 " % (shown_width, shown_height) + image.tobytes()
        self._photo = self._tk.PhotoImage(master=self._root, data=data, format="PPM")
        self._canvas.itemconfig(self._image, image=self._photo)
        self._canvas.coords(self._image, *self._corner)

    def _press(self, event: tkinter.Event) -> None:
        if self._drawn is None:
            return
        self._may_track.clear()
        self._start = event.x, event.y
        colour = "#{:02x}{:02x}{:02x}".format(*COLOURS[self._index % len(COLOURS)])
        corner = event.x, event.y
        self._rectangle = self._canvas.create_rectangle(*corner, *corner, outline=colour, width=2)

    def _drag(self, event: tkinter.Event) -> None:
        if self._start is not None:
            self._canvas.coords(self._rectangle, *self._start, event.x, event.y)

    def _release(self, event: tkinter.Event) -> None:
        if self._start is None or self._drawn is None:
            return
        height, width = self._drawn.shape[:2]
        points = (np.array([self._start, (event.x, event.y)], float) - self._corner) / self._scale
        points = np.clip(points, 0, (width, height))
        box = *points.min(0).tolist(), *np.ptp(points, 0).tolist()
        self._canvas.delete(self._rectangle)
        self._start = None
        if min(box[2:]) >= _MIN_DRAG:
            with self._lock:
                self._selection = Selection(self._index, self._drawn, box)
            # A paused tracker would not draw it.
            results: list[Any] = [*self._results[: self._index], SimpleNamespace(box=box, score=1.0, found=True)]
            self._latest = self._drawn, results + self._results[self._index + 1 :]
        if not self._is_paused:
            self._may_track.set()

    def _pause(self) -> None:
        self._is_paused = not self._is_paused
        (self._may_track.clear if self._is_paused else self._may_track.set)()
        self._update_title()

    def _choose(self, event: tkinter.Event) -> None:
        if event.keysym.isdigit() and 0 < int(event.keysym) <= max(len(self._results), 1):
            self._index = int(event.keysym) - 1
            self._update_title()

    def _close(self) -> None:
        self._closed.set()
        self._may_track.set()

    def _update_title(self) -> None:
        target = f" - target {self._index + 1}" if self._index else ""
        self._root.title(f"relo - {self._title}{target}" + (" - paused" if self._is_paused else ""))
