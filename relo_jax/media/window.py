"""A window that shows what is tracked, where there is a display: pause, select with the mouse, quit.

Tk runs in the main thread, as it must, and tracking in another (`Window.run`). Between them lies one place for the
newest frame: drawing takes nothing from tracking, and what it is too slow for is not shown. While the mouse button is
down the tracker waits, so that the box that is dragged belongs to the frame that is seen.

    space  pause and go on          drag  select the target (again)
    1-9    which of several targets a drag selects           q, Esc  end
"""

import contextlib
import importlib.util
import os
import sys
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np

from relo_jax.errors import UserError
from relo_jax.media.overlay import COLOURS, draw

_POLL = 15  # milliseconds between two looks at what is new
_LEAST = 4  # pixels of the frame: a shorter drag is a click
_OF_SCREEN = 0.8  # what a window takes of it at most, at the beginning
_KEPT = []  # Tcl stops the process when an interpreter is collected by another thread than its own


@dataclass(frozen=True)
class Selection:
    """A dragged box. index: of the target. frame: what it was dragged in. box: x, y, w, h in pixels of the frame."""

    index: int
    frame: np.ndarray
    box: tuple[float, float, float, float]


def somebody_looks():
    """Whether a window is likely to be wanted: a terminal, a display and Tk."""
    display = sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY"))
    return display and sys.stdout.isatty() and importlib.util.find_spec("_tkinter") is not None


@contextlib.contextmanager
def open_window(title, remedy):
    """A Window, closed when the block is left.

    Args:
      title: of the window. remedy: what to do instead, for the message when there is none.

    Raises:
      UserError: there is no display, no Tk, or this is not the main thread.
    """
    try:
        import tkinter
    except ImportError as error:
        raise UserError(f"no window can be shown (Python has no tkinter; Debian: python3-tk): {remedy}") from error
    if threading.current_thread() is not threading.main_thread():
        raise UserError(f"no window can be shown from another thread than the main one: {remedy}")
    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        raise UserError(f"no window can be shown ({error}): {remedy}") from error
    _KEPT.append(root)
    window = Window(tkinter, root, title)
    try:
        yield window
    finally:
        window.forget_picture()
        with contextlib.suppress(tkinter.TclError):
            root.destroy()


class Window:
    """`show` and `ask` are for the thread that tracks, `run` for the main thread."""

    def __init__(self, tkinter, root, title):
        self._tk, self._root, self._title = tkinter, root, title
        self._canvas = tkinter.Canvas(root, width=640, height=480, background="black", highlightthickness=0)
        self._canvas.pack(fill="both", expand=True)
        self._image = self._canvas.create_image(0, 0, anchor="nw")
        # Between the threads.
        self._lock, self._go, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._go.set()
        self._newest, self._selection, self._label = None, None, ""
        # What is on the screen: frame and results, size of the canvas, and where the frame lies in it.
        self._drawn, self._results, self._size, self._scale, self._corner = None, [], None, 1.0, (0, 0)
        self._photo = self._start = self._rectangle = self._failure = None
        self._paused, self._index = False, 0
        self._canvas.bind("<ButtonPress-1>", self._press)
        self._canvas.bind("<B1-Motion>", self._drag)
        self._canvas.bind("<ButtonRelease-1>", self._release)
        for key in ("q", "Q", "<Escape>"):
            root.bind(key, lambda event: self._close())
        for digit in range(1, 10):
            root.bind(f"<Key-{digit}>", self._choose)
        root.bind("<space>", lambda event: self._pause())
        root.protocol("WM_DELETE_WINDOW", self._close)
        self._name()

    # The thread that tracks.

    def show(self, frame, results):
        """Shows a frame with its results, and waits while it is paused. Returns a Selection made since, or None."""
        with self._lock:
            self._newest = frame, results
        while not self._closed.is_set() and not self._go.wait(0.1):
            pass
        with self._lock:
            selection, self._selection = self._selection, None
        return selection

    def ask(self, frames, first):
        """Lets somebody select the target: in the first frame, or in a live source that plays on until the mouse is
        pressed.

        Returns:
          (frame, box). Raises KeyboardInterrupt when the window is closed or the source ends.
        """
        self._label, frame = "drag a box around the target", first
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

    def run(self, work, stop):
        """Runs `work` in a thread and the window here; closing the window calls `stop`, which should end the work.

        Returns:
          what `work` returns; what it raises is raised here.
        """
        answer, failure = [], []

        def working():
            try:
                answer.append(work())
            except BaseException as error:
                failure.append(error)

        def fail(kind, error, trace):
            self._failure = error
            self._root.quit()

        def look():
            if self._closed.is_set():
                stop()
            if not thread.is_alive():
                self._root.quit()
                return
            self._draw()
            self._root.after(_POLL, look)

        # A second Ctrl-C, and mistakes of ours: Tk would print them and go on.
        self._root.report_callback_exception = fail
        thread = threading.Thread(target=working, daemon=True)
        thread.start()
        self._root.after(0, look)
        self._root.focus_force()
        self._root.mainloop()
        self._close()
        if self._failure is not None:
            stop()
            thread.join(2.0)
            raise self._failure
        thread.join()
        if failure:
            raise failure[0]
        return answer[0]

    def forget_picture(self):
        """Before Tk is closed: an image asks for it when it is deleted."""
        self._photo = None

    def _draw(self):
        """Draws what is new, or all anew in a window of another size. What is being selected in stands still."""
        with self._lock:
            newest, self._newest = (None, self._newest) if self._start else (self._newest, None)
        size = self._canvas.winfo_width(), self._canvas.winfo_height()
        if newest is None and (self._drawn is None or self._start or size == self._size):
            return
        if newest is not None:
            self._drawn, self._results = newest
        height, width = self._drawn.shape[:2]
        if self._size is None:
            room = self._root.winfo_screenwidth(), self._root.winfo_screenheight()
            scale = min(1.0, *(_OF_SCREEN * r / s for r, s in zip(room, (width, height), strict=True)))
            size = max(round(width * scale), 320), max(round(height * scale), 240)
            self._canvas.config(width=size[0], height=size[1])
        self._size, self._scale = size, min(size[0] / width, size[1] / height)
        across, down = max(round(width * self._scale), 1), max(round(height * self._scale), 1)
        self._corner = (size[0] - across) // 2, (size[1] - down) // 2
        picture = draw(self._drawn, self._results, label=self._label)
        if (across, down) != (width, height):
            how = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR
            picture = cv2.resize(picture, (across, down), interpolation=how)
        data = b"P6 %d %d 255 " % (across, down) + picture.tobytes()
        self._photo = self._tk.PhotoImage(master=self._root, data=data, format="PPM")
        self._canvas.itemconfig(self._image, image=self._photo)
        self._canvas.coords(self._image, *self._corner)

    def _press(self, event):
        if self._drawn is None:
            return
        self._go.clear()
        self._start = event.x, event.y
        colour = "#{:02x}{:02x}{:02x}".format(*COLOURS[self._index % len(COLOURS)])
        self._rectangle = self._canvas.create_rectangle(*self._start, *self._start, outline=colour, width=2)

    def _drag(self, event):
        if self._start is not None:
            self._canvas.coords(self._rectangle, *self._start, event.x, event.y)

    def _release(self, event):
        if self._start is None:
            return
        height, width = self._drawn.shape[:2]
        points = (np.array([self._start, (event.x, event.y)], float) - self._corner) / self._scale
        points = np.clip(points, 0, (width, height))
        box = *points.min(0).tolist(), *np.ptp(points, 0).tolist()
        self._canvas.delete(self._rectangle)
        self._start = None
        if min(box[2:]) >= _LEAST:
            with self._lock:
                self._selection = Selection(self._index, self._drawn, box)
            # While it is paused nobody else would draw it.
            results = [*self._results[: self._index], SimpleNamespace(box=box, score=1.0, found=True)]
            self._newest = self._drawn, results + self._results[self._index + 1 :]
        if not self._paused:
            self._go.set()

    def _pause(self):
        self._paused = not self._paused
        (self._go.clear if self._paused else self._go.set)()
        self._name()

    def _choose(self, event):
        if event.keysym.isdigit() and 0 < int(event.keysym) <= max(len(self._results), 1):
            self._index = int(event.keysym) - 1
            self._name()

    def _close(self):
        self._closed.set()
        self._go.set()

    def _name(self):
        target = f" - target {self._index + 1}" if self._index else ""
        self._root.title(f"relo - {self._title}{target}" + (" - paused" if self._paused else ""))
