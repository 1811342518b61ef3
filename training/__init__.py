"""Training set to teacher, to students, to the cheapest compressed model that passes."""

import os

# Read by TensorFlow when it is first imported, so set before any module of this floor imports it: nothing but what ends the process.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
