"""The exception for a user's mistake: one line that names the file, the value and the remedy."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input from the user. The command line prints it as one line and exits with status 1."""


def did_you_mean(name: object, known: Iterable[object], cutoff: float = 0.6) -> str:
    """Returns a hint for an unknown name: ` (did you mean 'b256'?)`, or ` (known: ...)` if no known name is similar."""
    names = [str(one) for one in known]
    match = difflib.get_close_matches(str(name), names, n=1, cutoff=cutoff)
    return f" (did you mean {match[0]!r}?)" if match else f" (known: {', '.join(names)})"


def in_one_line(error: BaseException | str, most: int = 200) -> str:
    """The first line of an exception's message, printable and of at most `most` characters; without one, its type."""
    line = next((line for line in str(error).splitlines() if line.strip()), "") or type(error).__name__
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."
