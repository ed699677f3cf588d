"""The engine under `Tracker`, `MultiTracker` and `Lockstep`: B targets of one model on one device.

It owns what stays on the device: the weights and the state of every target. Each call is one dispatch; the state moves
on, its buffers are used again, and the answers stay on the device until somebody asks for them. Frames, videos and
results are the callers' business.
"""

import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import jax
import numpy as np

from relo_jax.model import RELO
from relo_jax.model.inference import for_tracking
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.options import checked_options
from relo_jax.tracking.patches import PARTS, Packer

EMPTY_BOX = np.array([0.0, 0.0, 10.0, 10.0])  # of a target that nobody follows


class Engine:
    """B targets of one model.

    Args:
      model: the network.
      variables: its variables.
      options: fields of the config's section "tracker"; the config's defaults where not given.
      patches: whether patches of frames go up where they suffice; None: except on a CPU, where nothing is to be gained.
      parts, shared: see `Packer`.

    Attributes:
      options: all options.
      device: where everything is computed.
      variables: on the device, kernels in the dtype that they are multiplied in.
      update_rule: when templates are replaced; None: never.
      state: of the B targets; the owner sets it first, from `begin`.
      sends_patches: see `patches`.
      seconds_compiling: time that compilation took between frames.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(
        self,
        model: RELO,
        variables: dict,
        options: dict | None,
        patches: bool | None = None,
        parts: Sequence[float] = PARTS,
        shared: bool = False,
    ):
        self.model, self.options = model, checked_options(options or {}, model)
        # Everything is committed to one device, so that programs are compiled for the placement in use.
        self.device = jax.local_devices()[0]
        self._has_value = programs.has_value(model, variables)
        self.variables = self.put(confidence.with_weights(for_tracking(model, variables), self.options))
        self.update_rule = programs.Updates.of(self.options) if self.options["update_interval"] else None
        self._updates = self.put(self.update_rule)
        is_cpu, is_tpu = (self.device.platform == name for name in ("cpu", "tpu"))
        self.sends_patches = not is_cpu if patches is None else patches
        parts = parts if self.sends_patches else (1.0,)
        compiled = lambda track: functools.partial(self.compile, track)
        buffers = 1 if is_cpu and shared else 2  # large frames of a video fill the memory that such a device shares
        self._frames, self._chunks = (
            Packer(compiled(track), is_tpu, parts, shared, buffers) for track in (self._track_frame, self._track_chunk)
        )
        self._held: tuple[np.ndarray, jax.Array] | None = None  # sizes of frames
        self.seconds_compiling = 0.0
        self.state: programs.TrackState  # set by the owner, see `begin`

    def put(self, arrays: Any) -> Any:
        """A tree of arrays, on the device."""
        return jax.device_put(arrays, self.device)

    def begin(self, views: tuple[programs.Array, ...]) -> programs.TrackState:
        """The state of new targets, from their `programs.first_view`s."""
        power = self.options["window_power"]
        return programs.begin(self.model, self.variables, *self.put(views), window_power=power)

    def begin_row(self, row: int, views: tuple[programs.Array, ...]) -> None:
        """Puts one new target into a row; the others go on."""
        self.state = programs.write_row(self.state, self.begin(views), self.put(row))

    def renew_template(self, row: int, view: tuple[programs.Array, ...]) -> None:
        """Replaces the second template of a row by a `programs.template_view`."""
        arrays = self.put((row, *view))
        self.state = programs.renew_template(self.model, self.variables, self.state, *arrays)

    def track_crops(self, crops: np.ndarray, sides: programs.Array | None, sizes: np.ndarray) -> jax.Array:
        """One frame of every target from search crops that the host cut; see `programs.track_crop`."""
        sides = None if sides is None else self.put(sides)
        return self._advance(programs.track_crop, self.put(crops), sides, self._sizes(sizes))

    def look(self, crops: np.ndarray) -> programs.Policy:
        """The policy over the next search crops, as `programs.look` has it; the targets stay where they are."""
        return programs.look(self.model, self.variables, self.state, self.put(crops), with_value=self._has_value)

    def track_frame(
        self, frames: Sequence[np.ndarray | None], reached: np.ndarray | None = None, resumes: Any = False
    ) -> jax.Array:
        """One frame of every target; the device cuts the crops.

        Args:
          frames: B, uint8 `[H, W, 3]`; None: the target has none, and stays as it is.
          reached: `[1, B, 4]` of `patches.reach`: what goes up of them. None: whole frames.
          resumes: bool `[B]` or one, which targets go on if they halted.

        Returns:
          answers of `programs.track_frame`, `[B, 7]`, still on the device.
        """
        pixels, place = self._frames.pack([frames], reached, resumes)
        return self._frames.sent(self._track_frame(pixels, place))

    def track_chunk(
        self,
        frames: Sequence[Sequence[np.ndarray | None]],
        reached: np.ndarray | None = None,
        resumes: Any = False,
        pool: Executor | None = None,
    ) -> jax.Array:
        """C frames of every target: frames `[C][B]`, reached `[C, B, 4]` -> answers `[C, B, 7]`; see `track_frame`.

        `pool`: threads that copy the frames; None: this one.
        """
        return self._chunks.sent(self._track_chunk(*self._chunks.pack(frames, reached, resumes, pool)))

    def prepare(self, height: int, width: int, chunk: int | None = None) -> None:
        """Compiles `track_frame`, or `track_chunk` for chunks of a length, for frames of a size."""
        rows = len(self.state.frames)
        if chunk is None:
            self._frames.prepare(height, width, 1, rows)
        else:
            self._chunks.prepare(height, width, chunk, rows)

    @property
    def bytes_up(self) -> int:
        """Bytes of all frames and patches that went up."""
        return self._frames.bytes_up + self._chunks.bytes_up

    def compile(self, track: Callable[..., jax.Array], *arrays: np.ndarray | None) -> None:
        """Runs a `track_*` method once with arrays of these shapes; the targets stay where they are."""
        start = time.perf_counter()
        kept = jax.tree.map(jax.numpy.copy, self.state)
        jax.block_until_ready(track(*arrays))
        self.state = kept
        self.seconds_compiling += time.perf_counter() - start

    def _track_frame(self, pixels: np.ndarray, place: np.ndarray) -> jax.Array:
        return self._advance(programs.track_frame, *self.put((pixels[0], place[0])), self._updates)

    def _track_chunk(self, pixels: np.ndarray, place: np.ndarray) -> jax.Array:
        return self._advance(programs.track_chunk, *self.put((pixels, place)), self._updates)

    def _sizes(self, sizes: np.ndarray) -> jax.Array:
        """The sizes on the device, put there again only if they changed."""
        if self._held is None or not np.array_equal(self._held[0], sizes):
            self._held = sizes.copy(), self.put(sizes.copy())
        return self._held[1]

    def _advance(self, program: Callable, *arrays: Any) -> jax.Array:
        self.state, answers = program(self.model, self.variables, self.state, *arrays)
        return answers
