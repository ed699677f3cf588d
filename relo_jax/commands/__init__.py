"""The commands of `relo`: a module each, with `add_arguments(parser)` and `run(args)`, which imports what it needs."""
