"""Plug-ins found by file name: dropping `tune/methods/dora.py` in is the whole registration."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Generic, TypeVar, cast

from pydantic import ConfigDict, with_config

from sartor.core.errors import SettingError, UnknownName
from sartor.core.near import near_miss

T = TypeVar("T")
P = TypeVar("P")


class Registry(Generic[T]):
    """Maps a name to a plug-in class, importing only the one asked for.

    Args:
        kind: Word for messages, e.g. "method".
        package: Package whose public direct children (files or folders) are the built-ins.
        group: Entry-point group where other distributions add theirs.
        part: Module inside each child that holds the class, for kinds whose plug-ins are folders
            with a torch-free and a training half. Empty: the child itself.
    """

    def __init__(self, kind: str, package: str, group: str, part: str = "") -> None:
        self.kind, self.package, self.group, self.part = kind, package, group, part
        self._found: dict[str, Callable[..., T]] = {}

    def add(self, plugin: type[P]) -> type[P]:
        """Class decorator; the file's (or folder's) own name becomes the public name.

        A class outside the package is named by its entry point: its module's name may be that of
        a built-in, which it must not replace.
        """
        if plugin.__module__.startswith(self.package + "."):
            inside = plugin.__module__.removeprefix(self.package + ".")
            self._found[inside.split(".")[0]] = cast("type[T]", plugin)
        return with_config(ConfigDict(extra="forbid"))(plugin)

    def names(self) -> list[str]:
        """All names, sorted, without importing any plug-in."""
        return sorted(self._built_ins() | {e.name for e in entry_points(group=self.group)})

    def get(self, name: str) -> Callable[..., T]:
        """Import and return one plug-in.

        A built-in wins over an entry point of the same name.

        Raises:
            UnknownName: If no file or entry point has that name.
            SettingError: If the file registers no class.
        """
        if name in self._found:
            return self._found[name]
        if name in self._built_ins():
            # Entry points are not looked for: reading those of every distribution takes time.
            self._import(name)
        elif name not in (names := self.names()):
            raise UnknownName(f"No {self.kind} is called {name!r}.", fix=near_miss(name, names))
        else:
            plugin = next(iter(entry_points(group=self.group, name=name))).load()
            self._found[name] = with_config(ConfigDict(extra="forbid"))(plugin)
        return self._found[name]

    def _built_ins(self) -> set[str]:
        paths = import_module(self.package).__path__
        return {m.name for m in iter_modules(paths) if not m.name.startswith("_")}

    def _import(self, name: str) -> None:
        module = ".".join(filter(None, (self.package, name, self.part)))
        import_module(module)
        if name not in self._found:
            raise SettingError(
                f"{module} registers no {self.kind}.",
                fix="put the registry's `.add` above its class, or start the file's name with an"
                f" underscore if it is not a {self.kind}.",
            )
