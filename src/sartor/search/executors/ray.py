"""As tasks on Ray: several groups at once, on this machine or on a cluster.

`--on ray` starts a Ray of its own for the run; `--on ray:HOST:PORT` joins the cluster whose head
listens there, from a machine that is part of it. Ray only carries: one task is one group, it is
never repeated by Ray, and what is asked next is decided here when the last answer has come. A task
whose process dies is that candidate's failure, and a fact of the run.

Ray: Moritz et al. 2018, https://arxiv.org/abs/1712.05889
"""

import fcntl
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from sartor.core.errors import MissingExtra, SettingError, WorkerDied, WorkspaceError
from sartor.core.events import Emit, Note, StageProgress
from sartor.core.hashing import digest
from sartor.core.types import Candidate
from sartor.core.workspace import Run, Workspace
from sartor.search.executing import EXECUTORS
from sartor.search.executors._parcel import Mark, Order, Parcel, code, fit_order, unshared
from sartor.search.fitting import Bench
from sartor.search.ladder import Scored
from sartor.serve.runtime import cores

_ADDRESS = re.compile(r"[^:/\s]+:[0-9]{1,5}")
_MOST_THREADS = 4
"""Of one fit, where the user does not say: several fits at once gain more from further cores."""
_REACH_SECONDS = 10.0
_PROBE_SECONDS = 120.0
_STORE_BYTES = 256 << 20
"""Of Ray's own memory: rows and logits pass through it, and no weights."""


@EXECUTORS.add
@dataclass(frozen=True, slots=True)
class Ray:
    """Fits as Ray tasks."""

    address: str = ""

    def check(self) -> None:
        if find_spec("ray") is None:
            raise MissingExtra(
                "--on ray needs ray, which is not installed.",
                fix="pip install 'sartor[ray]', on every node; or run without --on.",
            )
        if not self.address:
            return
        if not _ADDRESS.fullmatch(self.address):
            raise SettingError(
                f"--on ray:{self.address} names no cluster.",
                fix="write --on ray for this machine, or --on ray:HOST:PORT, with the port that"
                " `ray start --head` told (6379 unless you chose another).",
            )
        host, _, port = self.address.partition(":")
        try:
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), _REACH_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise self._unreachable(str(error)) from error

    @contextmanager
    def crew(self, place: Workspace, here: Run, emit: Emit) -> Generator["RayCrew"]:
        with redirect_stdout(sys.stderr), self._connected(here) as how, _marked(here) as mark:
            _check_nodes(mark, how["threads"])
            each = "one thread" if how["threads"] == 1 else f"{how['threads']} threads"
            emit(Note(f"Fits are Ray tasks: {how['workers']} at once, {each} each."))
            yield RayCrew(here, emit, mark, how["workers"], how["threads"])

    @contextmanager
    def _connected(self, here: Run) -> Generator[dict[str, int]]:
        """A Ray to give tasks to, and how they share it: a fact, as it decides what is asked."""
        import ray

        if ray.is_initialized():
            yield here.fact("ray", lambda: _shares(_cpus()))
            return
        try:
            how = self._start(here)
        except (ConnectionError, RuntimeError) as error:
            ray.shutdown()
            raise self._unreachable(str(error)) from error
        try:
            yield how
        finally:
            ray.shutdown()

    def _start(self, here: Run) -> dict[str, int]:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet: Any = {"log_to_driver": False, "logging_level": "error"}
        stop = signal.getsignal(signal.SIGTERM)
        if self.address:
            ray.init(self.address, **quiet)
            how = here.fact("ray", lambda: _shares(_cpus()))
        else:
            how = here.fact("ray", lambda: _shares([cores()]))
            cpus = max(cores(), how["threads"] * how["workers"])
            own: Any = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
            ray.init("local", num_cpus=cpus, **own, **quiet)
        # Ray would end the process; a run that is asked to stop says how to resume.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)
        return how

    def _unreachable(self, why: str) -> WorkspaceError:
        where = f"the Ray cluster at {self.address}" if self.address else "a Ray of this run's own"
        return WorkspaceError(
            f"{where[0].upper()}{where[1:]} cannot be reached: {why.splitlines()[0]}.",
            fix="see that `ray status` answers on this machine, which must be one of the cluster's;"
            " or run without --on.",
        )


@dataclass(slots=True)
class RayCrew:
    """A connected Ray.

    Args:
        here: The run, for what depends on the moment.
        emit: Progress.
        mark: Of the workspace.
        workers: Tasks at once.
        threads: Of one task, which takes as many CPUs.
    """

    here: Run
    emit: Emit
    mark: Mark
    workers: int
    threads: int
    _sent: list[tuple[Bench, Any]] = field(default_factory=list[tuple[Bench, Any]])
    """Benches, and the parcels with them."""

    def fit(
        self, bench: Bench, groups: Sequence[Sequence[Candidate]]
    ) -> list[list[Scored | Exception]]:
        sent = [self._sent_out(bench, group) for group in groups]
        found: list[list[Scored | Exception]] = []
        for group, task in zip(groups, sent, strict=True):
            found.append(self._answered(bench, group, task))
            self.emit(StageProgress("fit", len(found), len(groups), f"{self.workers} at once"))
        return found

    def _sent_out(self, bench: Bench, group: Sequence[Candidate]) -> Any:
        """The task; None for a group whose process died before, in this very run."""
        import ray

        if self.here.recall(_lost(bench, group)) is not None:
            return None
        tuner = bench.tuner
        endings = [tuner.ending(c, bench.train, bench.validation) for c in group]
        known = {e.name: self.here.recall(e.name) for e in endings if e.known()}
        until = time.time() + tuner.options.deadline - time.monotonic()
        # Never again by Ray: what a second try would give is the run's to decide.
        task: Any = ray.remote(num_cpus=self.threads, max_retries=0, retry_exceptions=False)(
            fit_order
        )
        return task.remote(self._parcel(bench), Order(group, known, bench.bar, until))

    def _answered(
        self, bench: Bench, group: Sequence[Candidate], task: Any
    ) -> list[Scored | Exception]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        if task is not None:
            try:
                answer: Any = ray.get(task)
            except RayTaskError:
                raise  # a fault in our code: its traceback is what is needed
            except RayError as error:
                why = str(error).strip().splitlines()[0]
                self.here.fact(_lost(bench, group), lambda: why)
            else:
                for note in answer.notes:
                    self.emit(note)
                for name, value in answer.facts.items():
                    self.here.fact(name, lambda value=value: value)
                if answer.refused is not None:
                    raise answer.refused
                return list(answer.results)
        return self._left(bench, group)

    def _left(self, bench: Bench, group: Sequence[Candidate]) -> list[Scored | Exception]:
        """What is left of a group whose process died: its candidates, each by itself."""
        if len(group) > 1:
            text = f"The process that fitted {len(group)} heads died; they are fitted one by one."
            self.emit(Note(text, "warning"))
            return [each for (each,) in self.fit(bench, [[candidate] for candidate in group])]
        why = self.here.recall(_lost(bench, group))
        return [
            WorkerDied(
                f"the process that fitted it died: {why.rstrip('.')}.",
                fix="see that the machine has the memory for so many fits at once.",
            )
        ]

    def _parcel(self, bench: Bench) -> Any:
        """The bench in Ray's memory, put there once."""
        import ray

        for known, reference in self._sent:
            if _packed_alike(known, bench):
                return reference
        reference = ray.put(Parcel.of(bench, self.mark, self.threads))
        self._sent.append((bench, reference))
        return reference


def _packed_alike(one: Bench, other: Bench) -> bool:
    """Whether one parcel does for both: the bar travels with each order."""
    return all(
        getattr(one, name) is getattr(other, name)
        for name in ("tuner", "train", "validation", "folds")
    )


def _lost(bench: Bench, group: Sequence[Candidate]) -> str:
    """Name of the fact that a group's process died."""
    keys = [bench.tuner.key(c, bench.train, bench.validation) for c in group]
    # A second look fits the same rows again, fold by fold: its death is not that of the first fit.
    looked = [] if bench.folds is None else ["folds"]
    return f"lost {digest(keys, *looked)[:16]}"


def _cpus() -> list[int]:
    """Of each node that is alive."""
    import ray

    return [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]


def _shares(cpus: Sequence[int]) -> dict[str, int]:
    """Threads of one fit, and how many fits at once.

    Args:
        cpus: Of each machine.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(asked) if re.fullmatch(r"[1-9][0-9]{0,3}", asked) else 0
    threads = threads or max(1, min(_MOST_THREADS, max(cpus, default=1) // 2))
    return {"threads": threads, "workers": max(1, sum(each // threads for each in cpus))}


@contextmanager
def _marked(here: Run) -> Generator[Mark]:
    """A file with a new token in the run's folder, locked for the length of the block."""
    path = here.folder.resolve() / "shared"
    token = secrets.token_hex(16)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(token)
        file.flush()
        os.fsync(file.fileno())
        try:
            yield Mark(str(path), token)
        finally:
            path.unlink(missing_ok=True)


def _look(mark: Mark) -> tuple[str, str]:
    """From a node: why it does not share the workspace, and its code."""
    fault = mark.fault()
    return fault, "" if fault else code()


def _check_nodes(mark: Mark, threads: int) -> None:
    """Every node shares the workspace and has our code, and one has room for a fit.

    Raises:
        WorkspaceError: If not.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if not any(node["Resources"].get("CPU", 0) >= threads for node in nodes):
        raise WorkspaceError(
            f"No node of the Ray cluster has {threads} CPUs for a fit.",
            fix="set OMP_NUM_THREADS to fewer and start a new run; or run without --on.",
        )
    look: Any = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = [
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(mark)
        for node in nodes
    ]
    for node, task in zip(nodes, asked, strict=True):
        host = node["NodeManagerHostname"]
        try:
            fault, theirs = ray.get(task, timeout=_PROBE_SECONDS)
        except RayError as error:
            raise WorkspaceError(
                f"{host} of the Ray cluster does not answer: {str(error).splitlines()[0]}",
                fix="see that the same sartor[train,ray] is installed there; or run without --on.",
            ) from error
        if fault:
            raise unshared(host, fault, mark.path)
        if theirs != code():
            raise WorkspaceError(
                f"{host} has another sartor, or other versions of what it computes with.",
                fix="install the same versions on every node: pip install -c constraints.txt"
                " 'sartor[train,ray]'.",
            )
