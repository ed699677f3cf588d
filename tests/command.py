"""A command run inside the test's own process, so that what it raises and prints can be looked at."""

from relo_jax.commands import main


def run(*argv):
    """`relo ARGV`, but for the line that a UserError becomes: it is raised."""
    args = main.parse([str(argument) for argument in argv])
    return args.run(args)
