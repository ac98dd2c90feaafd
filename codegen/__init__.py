"""Makes and tunes Triton kernels without guessing."""

__version__ = "0.1.0"
