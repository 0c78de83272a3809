"""What keeps training from fitting noise, for every method that is descended on; one idea a file.

All are settings of `Loop`, off by default, and none costs anything while off.
"""
