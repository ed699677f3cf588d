"""Milliseconds a frame of the tracker as a user runs it (`Tracker.update`: crop on the host, copy, network, box), and
of the network alone; the difference is what the host adds.

    python -m benchmarks.track --variant tiny --repeats 100
"""

import statistics

import jax
import numpy as np

from benchmarks import common
from relo_jax import tracker
from relo_jax.model import RELO, init_variables

BOX = (130.0, 100.0, 60.0, 45.0)


def video(frames, height, width, seed=0):
    """Frames of noise; how long an update takes does not depend on what is in them."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def online(model, variables, frames):
    """A function that updates a tracker with the next frame; the target is given anew each time around."""
    tracked = tracker.Tracker(model, variables)
    count = 0

    def update():
        nonlocal count
        if count % len(frames) == 0:
            tracked.init(frames[0], BOX)
        count += 1
        return tracked.update(frames[count % len(frames)])

    return update


def network(model, variables):
    """A function that runs the compiled step on a crop that is on the device already."""
    clip = common.random_clips(model, 1, 1)
    template = clip["template_images"][:, 0], clip["template_boxes_xywh"][:, 0]
    state = tracker.init_state(model, variables, *template, window_power=1.0)
    crop = jax.device_put(clip["search_images"][:, 0])
    step = jax.jit(lambda variables, state, crop: tracker.step(model, variables, state, crop))
    return lambda: step(variables, state, crop)


def main():
    args = common.arguments(__doc__, repeats=100, width=640, height=480)
    model = RELO.from_variant(args.variant)
    variables = init_variables(model, jax.random.key(0))
    frames = video(32, args.height, args.width)
    functions = {"update": online(model, variables, frames), "network": network(model, variables)}
    seconds = common.times(functions, args.repeats)
    median = {name: statistics.median(s) for name, s in seconds.items()}
    row = {"variant": args.variant, "frame": f"{args.width}x{args.height}", "repeats": args.repeats}
    row |= {"frames_per_second": round(1 / median["update"], 1)}
    row |= {f"{name}_ms": common.spread(s) for name, s in seconds.items()}
    common.record("track", {**row, "update_over_network": round(median["update"] / median["network"], 2)})


if __name__ == "__main__":
    main()
