"""K targets of one video, advanced together: what `Tracker` (K = 1) and `MultiTracker` share.

The crops are cut on the host (on a CPU) or on the device. There, what goes up of a frame are patches around the targets
or the whole frame, once, whatever K is. Where a patch was too small, the targets that halted get their frames again,
whole, before anything else is sent.
"""

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

from relo_jax.errors import UserError
from relo_jax.geometry.crop import SEARCH_FACTOR, crop_host, crop_windows, cut_host
from relo_jax.model import RELO
from relo_jax.tracking import about, confidence, programs
from relo_jax.tracking.engine import EMPTY_BOX, Engine
from relo_jax.tracking.options import NOT_FINITE, check_box, check_frame
from relo_jax.tracking.patches import RECENT, reach
from relo_jax.tracking.result import Look, Result

PARTS = (0.3, 1.0)  # see `patches.Packer`; both are compiled before the first frame, so that no frame waits
Box = Sequence[float] | np.ndarray  # x, y, w, h in pixels


@dataclass(eq=False)
class _Sent:
    """A chunk on the device: its frames, how many it is padded to, and the answers `[C, K, 7]`.

    settled: see `_with_levels`; there when the device has been waited for.
    """

    frames: Sequence[np.ndarray]
    length: int
    answers: jax.Array
    settled: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


class VideoTargets:
    """See `Tracker` and `MultiTracker`, whose arguments these are; count is K, and `patches` is the engine's.

    checkpoint: what `from_pretrained` was given; None of a tracker that was made from variables.
    """

    checkpoint: str | None = None

    def __init__(
        self,
        model: RELO,
        variables: dict,
        count: int,
        options: dict | None = None,
        device_crops: bool | None = None,
        patches: bool | None = None,
    ):
        self._engine, self._count = Engine(model, variables, options, patches, PARTS, shared=True), count
        self._device_crops = self._engine.device.platform != "cpu" if device_crops is None else device_crops
        self._begun = False
        self._recent = np.full((count, RECENT, 4), np.nan)  # last boxes that the host knows
        self._steady = confidence.Steady(count, int(self.options["found_frames"]))
        self._under_way: collections.deque[_Sent] = collections.deque()  # chunks whose answers it does not know
        self._warm_up()

    @classmethod
    def _load(cls, path: str | Path, dtype: str | None, overrides: dict) -> tuple[RELO, dict, dict]:
        from relo_jax.checkpoints.load import load_tracker  # with its Orbax, which a tracker of given variables lacks

        loaded = load_tracker(path, dtype)
        return loaded.model, loaded.variables, {**loaded.config.get("tracker", {}), **overrides}

    def _prepared_for(self, sizes: Sequence[tuple[int, int]], checkpoint: str | Path):
        self.checkpoint = str(checkpoint)
        for height, width in sizes:
            self.prepare(height, width)
        return self

    @property
    def model(self) -> RELO:
        """The network."""
        return self._engine.model

    @property
    def device(self) -> jax.Device:
        """Where it computes."""
        return self._engine.device

    @property
    def computes(self) -> str:
        """In which dtype, and where, in words."""
        return f"in {self.model.config.dtype}, on {self.device.device_kind} ({self.device.platform})"

    @property
    def begun(self) -> bool:
        """Whether `init` was called."""
        return self._begun

    def __repr__(self) -> str:
        return about.as_text(self)

    def _repr_html_(self) -> str:
        return about.as_table(self)

    @property
    def options(self) -> dict[str, float]:
        """All options of the tracker."""
        return self._engine.options

    @property
    def calibrated(self) -> bool:
        """Whether the score is a probability. If not, it is the policy's probability of the cells around the box."""
        return confidence.is_calibrated(self.options)

    @property
    def boxes(self) -> np.ndarray:
        """The last box_xywh of every target, in pixels, float32 `[K, 4]`. Waits for the device."""
        self._check_begun("boxes")
        self._settle()
        return jax.device_get(self._engine.state.box_xywh)

    def prepare(self, height: int, width: int, chunk: int | None = None) -> None:
        """Compiles for frames of a size, unless that was done; `init` does it for the size of its frame.

        Args:
          height, width: of the frames.
          chunk: C of `update_chunk`; None prepares `update`.
        """
        if chunk is not None or self._device_crops:
            self._engine.prepare(height, width, chunk)

    def rescale(self, across: float, down: float) -> None:
        """Scales the boxes with the picture; templates and tokens stay.

        Args:
          across, down: new width and height of the picture over the old ones.
        """
        scale = np.array([across, down, across, down], np.float32)
        boxes, self._recent = self.boxes * scale, self._recent * scale
        windows = np.asarray(crop_windows(boxes, SEARCH_FACTOR), np.int32)
        boxes, windows = self._engine.put((boxes, windows))
        self._engine.state = self._engine.state.replace(box_xywh=boxes, crop_window=windows)

    def _init(self, frame: np.ndarray, boxes_xywh: Sequence[Box]) -> None:
        check_frame(frame)
        boxes = [check_box(box, frame) for box in boxes_xywh]
        self.prepare(*frame.shape[:2])
        self._settle()
        self._engine.state, self._begun = self._engine.begin(self._first_views(frame, boxes)), True
        self._recent[:] = np.nan
        self._recent[:, -1] = boxes
        self._steady.begin()

    def _init_one(self, row: int, frame: np.ndarray, box_xywh: Box) -> None:
        check_frame(frame)
        box = check_box(box_xywh, frame)
        self._settle()
        self._engine.begin_row(row, self._first_views(frame, [box]))
        self._recent[row] = np.nan
        self._recent[row, -1] = box
        self._steady.begin(row)

    def _first_views(self, frame: np.ndarray, boxes: Sequence[np.ndarray]) -> tuple[programs.Array, ...]:
        read_crop = functools.partial(crop_host, frame)
        views = [programs.first_view(box, self.model.config.template_size, read_crop) for box in boxes]
        return tuple(np.concatenate(parts) for parts in zip(*views, strict=True))

    def _update(self, frame: np.ndarray) -> list[Result]:
        self._check_begun("update")
        check_frame(frame)
        self._settle()
        if self._device_crops:
            return self._results(*self._with_levels(self._track_frame(frame)[None])[0])
        crops = self._cut(frame, jax.device_get(self._engine.state.crop_window))
        sizes = np.array([frame.shape[:2]] * self._count, np.int32)
        answers = jax.device_get(self._engine.track_crops(crops, None, sizes))
        results = self._results(*self._with_levels(answers[None])[0])
        if self._engine.sends_patches:
            self._remember(answers[None])
        if self._engine.update_rule is not None:
            self._renew_templates(self._engine.update_rule, frame, answers)
        return results

    def _look(self, frame: np.ndarray) -> list[Look]:
        """`_update`, and what the policy says meanwhile.

        The policy comes from a program of its own, on crops that the host cuts, before the state moves on. So the box
        is that of `_update` to the last bit, at the price of a second pass through the network.
        """
        self._check_begun("look")
        check_frame(frame)
        self._settle()
        windows, prior = jax.device_get((self._engine.state.crop_window, self._engine.state.state.window))
        crops = self._cut(frame, windows)
        maps = self._engine.look(crops)
        results = self._update(frame)
        policy, entropy, value = jax.device_get(maps)
        grid = self.model.config.grid
        return [
            Look(
                **vars(result),
                policy=policy[k].reshape(grid, grid),
                value=None if value is None else float(value[k]),
                entropy=float(entropy[k]),
                window=prior[k].reshape(grid, grid),
                region=(float(x), float(y), float(side), float(side)),
            )
            for k, (result, (x, y, side)) in enumerate(zip(results, windows.tolist(), strict=True))
        ]

    def _cut(self, frame: np.ndarray, windows: np.ndarray) -> np.ndarray:
        return np.stack([cut_host(frame, window, self.model.config.search_size) for window in windows.tolist()])

    def _renew_templates(self, rule: programs.Updates, frame: np.ndarray, answers: np.ndarray) -> None:
        """Replaces the templates that are due, where the host cuts the crops."""
        tracked, read_crop = jax.device_get(self._engine.state.frames), programs.cropper(frame)
        due = rule.due(tracked, answers[:, programs.RESPONSE])
        for row in np.flatnonzero(due).tolist():
            view = programs.template_view(answers[row, programs.BOX], self.model.config.template_size, read_crop)
            self._engine.renew_template(row, view)

    def _update_chunk(self, frames: Sequence[np.ndarray], length: int | None) -> Callable[[], Iterator[list[Result]]]:
        self._check_begun("update_chunk")
        for frame in frames:
            check_frame(frame)
        length = length or len(frames)
        if len(frames) > length:
            raise UserError(f"update_chunk has {len(frames)} frames for length={length}: give no more than that")
        answers = self._engine.track_chunk(self._padded(frames, length), self._reached(length))
        answers.copy_to_host_async()
        sent = _Sent(list(frames), length, answers)
        self._under_way.append(sent)

        def results() -> Iterator[list[Result]]:
            while sent in self._under_way:
                self._settle_next()
            return itertools.starmap(self._results, sent.settled)

        return results

    def _padded(self, frames: Sequence[np.ndarray | None], length: int) -> list[list[np.ndarray | None]]:
        return [[frame] * self._count for frame in [*frames, *[None] * (length - len(frames))]]

    def _reached(self, length: int) -> np.ndarray | None:
        """What goes up of the next frames; None: all."""
        if not self._engine.sends_patches:
            return None
        ahead = sum(len(sent.frames) for sent in self._under_way) + np.arange(1, length + 1)
        return reach(self._recent, np.repeat(ahead[:, None], self._count, axis=1))

    def _track_frame(self, frame: np.ndarray) -> np.ndarray:
        """Answers `[K, 7]` of one frame; the device cuts the crops."""
        answers = jax.device_get(self._engine.track_frame([frame] * self._count, self._reached(1)))
        halted = answers[:, programs.MOVED] == 0
        if halted.any():
            again = self._engine.track_frame([frame if halts else None for halts in halted], resumes=True)
            answers = np.where(halted[:, None], jax.device_get(again), answers)
        self._remember(answers[None])
        return answers

    def _settle(self) -> None:
        """Waits for all chunks under way, whose results may still be asked for."""
        while self._under_way:
            self._settle_next()

    def _settle_next(self) -> None:
        """Waits for the chunk that was sent first, and sends again what halted targets missed."""
        sent = self._under_way[0]
        answers = np.array(jax.device_get(sent.answers))
        missed = answers[..., programs.MOVED] == 0
        missed[len(sent.frames) :] = False
        if missed.any():
            frames = self._padded(sent.frames, sent.length)
            again = [
                [one if m else None for one, m in zip(*rows, strict=True)] for rows in zip(frames, missed, strict=True)
            ]
            whole = jax.device_get(self._engine.track_chunk(again, resumes=True))
            answers[missed] = whole[missed]
        self._under_way.popleft()
        answers, sent.frames = answers[: len(sent.frames)], ()  # the frames are in memory no longer than needed
        sent.settled = self._with_levels(answers)
        self._remember(answers)
        if missed.any():
            self._settle()  # the chunks behind it, before anything else moves these targets

    def _remember(self, answers: np.ndarray) -> None:
        """The boxes of answers `[F, K, 7]` are known."""
        boxes = np.concatenate([self._recent, answers[..., programs.BOX].swapaxes(0, 1)], axis=1)
        self._recent = boxes[:, -RECENT:]

    def _with_levels(self, answers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each frame of answers `[F, K, 7]`, which come in order: those of the frame, and the levels of `Steady`."""
        return [(answer, self._steady.advance(answer[:, programs.SCORE])) for answer in answers]

    def _results(self, answers: np.ndarray, levels: np.ndarray) -> list[Result]:
        return [self._result(answer, level) for answer, level in zip(answers, levels, strict=True)]

    def _result(self, answer: np.ndarray, level: float) -> Result:
        box = tuple(answer[programs.BOX].tolist())
        if not all(map(math.isfinite, box)):
            raise UserError(NOT_FINITE)
        response, score = float(answer[programs.RESPONSE]), float(answer[programs.SCORE])
        return Result(box, score, bool(level >= self.options["found_threshold"]), response)

    def _check_begun(self, name: str) -> None:
        if not self._begun:
            kind = type(self).__name__
            raise UserError(f"{kind}.{name} was called before {kind}.init: give the first frame and its box first")

    def _empty_views(self) -> tuple[programs.Array, ...]:
        """First views of a black frame."""
        return self._first_views(np.zeros((10, 10, 3), np.uint8), [EMPTY_BOX] * self._count)

    def _warm_up(self) -> None:
        """Runs everything once that does not depend on a frame's size: it is compiled, and its memory set aside."""
        engine, size = self._engine, self.model.config.search_size
        engine.state = engine.begin(self._empty_views())
        if self._device_crops:
            return
        if engine.update_rule is not None:
            engine.renew_template(0, tuple(part[:1] for part in self._empty_views()[:2]))
        crops = np.zeros((self._count, size, size, 3), np.uint8)
        for _ in range(2):
            answers = engine.track_crops(crops, None, np.full((self._count, 2), size, np.int32))
        jax.block_until_ready(answers)
