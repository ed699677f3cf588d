"""A progress bar that redraws often in a terminal and seldom in a log file."""

import sys

import tqdm


def progress(total: int, what: str, unit: str, *, initial: int = 0, delay: float = 0) -> tqdm.tqdm:
    """A bar on stderr for a `with` statement; its `update` advances it.

    Args:
      total: number of units.
      what: description before the bar.
      unit: plural, such as "frames".
      initial: units done before.
      delay: seconds before the bar appears.
    """
    interval = 0.5 if sys.stderr.isatty() else 30
    return tqdm.tqdm(
        desc=what, unit=f" {unit}", total=total, initial=initial, delay=delay, dynamic_ncols=True, mininterval=interval
    )
