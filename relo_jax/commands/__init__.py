"""The commands of `relo`: each is a module with `add_arguments(parser)` and `run(args)`."""
