"""Runs a command in the test's own process, so that the test sees its exceptions and its output."""

from relo_jax.commands import main


def run(*argv):
    """`relo ARGV`, except that a UserError is raised instead of printed."""
    args = main.parse([str(argument) for argument in argv])
    return args.run(args)
