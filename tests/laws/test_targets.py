"""Every registered target obeys the shipped laws."""

from sartor.testing.targets import *  # noqa: F403
