"""For all tests: what has to be imported before anything else."""

import contextlib
import sys

# A CUDA build of torch brings triton, whose library kills the process (a segmentation fault in its import) once TensorFlow 2.21 is
# loaded; the other way round both work. No stage loads both; a worker of pytest loads everything.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

# Tests write a module, load it, and write it anew at the same length within the same second: by size and second of change, which is how
# Python tells, the bytecode of the first would be that of the second.
sys.dont_write_bytecode = True
