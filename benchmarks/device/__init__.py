"""Everything that a GPU or TPU is asked when one is at hand, in one command that ends by itself: see `__main__`.

`plan` lists the stages, `run` runs each as a process within the budget, `measure` is that process. The measurements are
in `kernels`, `tracking`, `training` and `peer`.
"""
