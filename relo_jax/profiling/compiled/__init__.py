"""What a program costs on a GPU or a slice of TPUs that is not there: compiled for it, and read from what comes out.

`targets` opens the devices, `programs` builds what is compiled, `compiling` compiles it, `hlo` parses the optimised
program, `cost`, `collectives` and `launches` count in it.
"""
