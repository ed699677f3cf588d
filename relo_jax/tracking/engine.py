"""The engine under `Tracker`, `MultiTracker` and `Lockstep`: B targets of one model on one device.

It owns what stays on the device: the weights and the state of every target. Each call is one dispatch; the state moves
on, its buffers are used again, and the answers stay on the device until somebody asks for them. Frames, videos and
results are the callers' business.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from relo_jax.model import RELO
from relo_jax.model.inference import for_tracking
from relo_jax.tracking import confidence, programs
from relo_jax.tracking.options import checked_options

EMPTY_BOX = np.array([0.0, 0.0, 10.0, 10.0])  # of a target that nobody follows


class Engine:
    """B targets of one model.

    Args:
      model: the network.
      variables: its variables.
      options: fields of the config's section "tracker"; the config's defaults where not given.

    Attributes:
      options: all options.
      device: where everything is computed.
      variables: on the device, kernels in the dtype that they are multiplied in.
      update_rule: when templates are replaced; None: never.
      state: of the B targets; the owner sets it first, from `begin`.

    Raises:
      UserError: an option that does not exist or makes no sense.
    """

    def __init__(self, model: RELO, variables: dict, options: dict | None):
        self.model, self.options = model, checked_options(options or {}, model)
        # Everything is committed to one device, so that programs are compiled for the placement in use.
        self.device = jax.local_devices()[0]
        self.variables = self.put(confidence.with_weights(for_tracking(model, variables), self.options))
        self.update_rule = programs.Updates.of(self.options) if self.options["update_interval"] else None
        self._updates = self.put(self.update_rule)
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

    def track_crops(self, crops: np.ndarray, sides: np.ndarray, sizes: np.ndarray) -> jax.Array:
        """One frame of every target from search crops that the host cut; see `programs.track_crop`."""
        return self._advance(programs.track_crop, crops, sides, sizes)

    def track_frame(self, frame: np.ndarray, sizes: np.ndarray) -> jax.Array:
        """One frame of every target; the device cuts the crops. See `programs.track_frame`."""
        return self._advance(programs.track_frame, frame, sizes, self._updates)

    def track_chunk(self, frames: np.ndarray, sizes: np.ndarray) -> jax.Array:
        """C frames of every target; see `programs.track_chunk`."""
        return self._advance(programs.track_chunk, frames, sizes, self._updates)

    def compile(self, track: Callable[..., jax.Array], *arrays: np.ndarray) -> None:
        """Compiles a `track_*` method for arrays of these shapes; the targets stay where they are."""
        kept = jax.tree.map(jax.numpy.copy, self.state)
        jax.block_until_ready(track(*arrays))
        self.state = kept

    def _advance(self, program: Callable, *arrays: Any) -> jax.Array:
        self.state, answers = program(self.model, self.variables, self.state, *self.put(arrays))
        return answers
