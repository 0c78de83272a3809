"""Every error a user can meet.

SartorError
├── SettingError        a value in the configuration cannot work
├── UnknownName         no task / method / reader / check has that name
├── NothingToTune       a method matched no layer
├── NothingToShrink     a compressor found nothing to work on
├── NeedError           need.yaml is wrong; carries every fault with its line
├── DataError           a data file or a row cannot be used
├── ModelError          a backbone cannot be loaded, or must not be
├── BundleError         a bundle is damaged, edited or too new
├── DeploymentError     a deployment has nothing to do that with, or clients would break
├── WorkspaceError      .sartor/ is damaged, too new, busy or out of space
├── TransferError       a bucket, a registry or a shared folder did not do as asked
├── LlmError            a language model behind a URL did not answer as agreed
│   └── LlmDown         it answers nobody at present
├── MissingExtra        an optional dependency is not installed
├── WorkerDied          the process that fitted a candidate is gone
├── Diverged            training produced a loss that is not a number
├── RequestError        an HTTP body cannot be answered; carries its status
│   └── Unanswered      none could be at present, whatever it holds
└── Interrupted         stopped on request; carries the command that resumes
"""

from dataclasses import dataclass
from typing import Any


class SartorError(Exception):
    """Says what happened and, always, what to do next.

    Args:
        what: One sentence with the offending values in it.
        fix: The next thing to type or change. Required: an error without one is unfinished.
    """

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(f"{what}\n  Fix: {fix}")
        self.what, self.fix = what, fix

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions rebuild themselves from `args`, which would lose `fix`: an error raised in a
        # worker process would then be one that the parent cannot read.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[SartorError], args: tuple[Any, ...], state: dict[str, Any]) -> SartorError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SettingError(SartorError, ValueError): ...


class UnknownName(SartorError, LookupError): ...


class NothingToTune(SartorError, ValueError): ...


class NothingToShrink(SartorError, ValueError): ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file.

    Args:
        line: 1-based, or 0 when no line is to blame.
        what: What is wrong, with the value.
        fix: What to write instead.
    """

    line: int
    what: str
    fix: str


class NeedError(SartorError, ValueError):
    """All faults of a need file at once.

    Args:
        file: Name of the file, as the user wrote it.
        faults: At least one.
    """

    def __init__(self, file: str, faults: list[Fault]) -> None:
        self.file, self.faults = file, faults
        lines = [f"{_place(file, f)}: {f.what}\n    Fix: {f.fix}" for f in faults]
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        Exception.__init__(self, f"{file} has {count}.\n  " + "\n  ".join(lines))
        self.what, self.fix = f"{file} has {count}.", faults[0].fix


def _place(file: str, fault: Fault) -> str:
    return f"{file}, line {fault.line}" if fault.line else file


class DataError(SartorError, ValueError): ...


class ModelError(SartorError, ValueError): ...


class BundleError(SartorError, ValueError): ...


class DeploymentError(SartorError, ValueError): ...


class WorkspaceError(SartorError, RuntimeError): ...


class TransferError(SartorError, RuntimeError): ...


class LlmError(SartorError, RuntimeError): ...


class LlmDown(LlmError): ...


class MissingExtra(SartorError, ImportError): ...


class WorkerDied(SartorError, RuntimeError): ...


class Diverged(SartorError, ArithmeticError): ...


class RequestError(SartorError, ValueError):
    """A request that cannot be answered.

    Args:
        what: One sentence with the offending values in it.
        fix: What to send instead.
        status: HTTP status, 400 to 599.
    """

    def __init__(self, what: str, *, fix: str, status: int = 400) -> None:
        super().__init__(what, fix=fix)
        self.status = status


class Unanswered(RequestError):
    """What would be said of any other request as well: none of them needs to be tried alone."""


class Interrupted(SartorError): ...
