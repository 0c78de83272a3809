"""Every registered tuning method obeys the shipped laws."""

from sartor.testing.methods import *  # noqa: F403
