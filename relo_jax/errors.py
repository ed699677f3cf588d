"""The one exception for a user's mistake: one line that names the file, the value and the remedy."""


class UserError(ValueError):
    """Bad input of the user's. The command line prints it as one line and exits with 1."""
