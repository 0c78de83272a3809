"""The command line: parse, call the pipeline, draw events; nothing else.

Data goes to stdout, progress and errors to stderr. Exit status: 0 all criteria met, 1 some unmet or
unproven, 2 bad input or configuration, 130 interrupted.
"""

import _thread
import errno
import signal
import sys
import threading

from sartor.core.errors import Interrupted, MissingExtra, SartorError, WorkspaceError

BAD_INPUT, INTERRUPTED = 2, 130
_AGAIN_S = 0.05


def main() -> None:
    """Entry point of the `sartor` command."""
    from sartor.cli.app import app

    _hear_stops()
    try:
        app()
    except SartorError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        if (extra := _extra_of(error.name or "")) is None:
            raise
        _fail(
            MissingExtra(
                f"This command needs {error.name}, which is not installed.",
                fix=f"pip install 'sartor[{extra}]'; `sartor doctor` lists what is missing.",
            )
        )
    except OSError as error:
        _fail(_of_the_disk(error))


def _hear_stops() -> None:
    """SIGTERM, a supervisor's, stops a run as Ctrl-C does, and neither is lost.

    `serve` puts its own handlers in place.
    """
    signal.signal(signal.SIGTERM, _stop)
    told = sys.unraisablehook

    def again(lost: "sys.UnraisableHookArgs") -> None:
        # A stop that meets a weakref's callback or a `__del__` is printed and ignored by Python.
        # It comes again as SIGTERM: in the background of a shell, SIGINT is ignored.
        if isinstance(lost.exc_value, KeyboardInterrupt):
            timer = threading.Timer(_AGAIN_S, _thread.interrupt_main, (signal.SIGTERM,))
            timer.daemon = True
            timer.start()
        else:
            told(lost)

    sys.unraisablehook = again


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _fail(error: SartorError) -> None:
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    raise SystemExit(INTERRUPTED if isinstance(error, Interrupted) else BAD_INPUT) from None


def _extra_of(module: str) -> str | None:
    from sartor.cli.options import EXTRAS

    top = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def _of_the_disk(error: OSError) -> WorkspaceError:
    place = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkspaceError(
            f"No space left on the disk while writing {place}.",
            fix="free some space, then run the same command again: what was finished is kept.",
        )
    return WorkspaceError(
        f"{place} cannot be used: {error.strerror or error}.",
        fix="check the path and its permissions.",
    )
