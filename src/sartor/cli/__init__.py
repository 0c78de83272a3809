"""The command line: parse, call the pipeline, draw events; nothing else.

Data goes to stdout, progress and errors to stderr. Exit status: 0 all criteria met, 1 some unmet or
unproven, 2 bad input or configuration, 130 interrupted.
"""

import sys

from sartor.core.errors import Interrupted, SartorError

BAD_INPUT, INTERRUPTED = 2, 130


def main() -> None:
    """Entry point of the `sartor` command."""
    from sartor.cli.app import app

    try:
        app(standalone_mode=False)
    except SartorError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(INTERRUPTED if isinstance(error, Interrupted) else BAD_INPUT) from None
    except BrokenPipeError:  # `sartor … | head`
        sys.stderr.close()
        raise SystemExit(0) from None
