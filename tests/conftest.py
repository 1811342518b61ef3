"""For all tests: what has to be imported before anything else."""

import contextlib

# A CUDA build of torch brings triton, whose library kills the process (a segmentation fault in its import) once TensorFlow 2.21 is
# loaded; the other way round both work. No stage loads both; a worker of pytest loads everything.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401
