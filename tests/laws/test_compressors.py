"""Every registered compressor obeys the shipped laws."""

from sartor.testing.compressors import *  # noqa: F403
