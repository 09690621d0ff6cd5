"""`include`: the services, secrets and configs of other files, each with its own directory and variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.convert import UNSET
from cohabit.config.keys.fields import FileKeys
from cohabit.config.keys.other_files import IncludeKeys
from cohabit.config.keys.rebase import Rebase
from cohabit.config.readers.files import LOCAL_ONLY, is_remote, path_of
from cohabit.config.text.source import UnreadableError
from cohabit.plan.draft import located
from cohabit.plan.node import RESET, Node, SyntaxProblemError
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.environment import Environment
    from cohabit.config.readers.files import Files

_IMPORTED = ("services", "volumes", "networks", "secrets", "configs")
_SETTINGS = "x-cohabit"
LIMIT_INCLUDES = 1000  # several files that include the next one twice each would double the work each time


class Scope(Record):
    """Where a file is read. directory: for its relative paths. lookup: its variables, None for those of the input.

    chain: the paths of the files that include it, and its own.
    """

    directory: str
    lookup: Callable[[str], str | None] | None
    chain: tuple[str, ...]


class Include:
    """Resolves `include`.

    text_of: the text of a scalar after interpolation. project: merges the documents of files, each with its path.
    """

    def __init__(
        self,
        files: Files,
        environment: Environment,
        converter: Converter,
        text_of: Callable[[Node], str],
        project: Callable[[list[tuple[str, list[Node]]], Scope], Node],
    ) -> None:
        self._files = files
        self._environment = environment
        self._converter = converter
        self._text_of = text_of
        self._project = project
        self._count = 0

    def applied(self, document: Node, scope: Scope) -> Node:
        """The document without `include`, with what it includes. Raises SyntaxProblemError."""
        around = dict(document.value) if isinstance(document.value, dict) else {}
        written = around.pop("include", None)
        if written is None:
            return document
        if written.tag != RESET and not isinstance(written.value, list):
            self._converter.convert_key(written, FileKeys, "include", "include")  # reports the type
        entries = written.value if isinstance(written.value, list) and written.tag != RESET else []
        for i, entry in enumerate(entries):
            tree = None if entry.tag == RESET else self._included(entry, f"include[{i}]", scope)
            if tree and isinstance(tree.value, dict):
                self._add(around, tree.value)
        return document.with_value(around)

    def _included(self, entry: Node, path: str, scope: Scope) -> Node | None:
        """The tree of one entry, with its paths relative to the directory of the scope; None if it is reported."""
        self._count += 1
        if self._count > LIMIT_INCLUDES:
            raise SyntaxProblemError(f"more than {LIMIT_INCLUDES} inclusions (include each file once)", entry.line)
        keys = self._keys(entry, path)
        named = [keys.path] if keys and isinstance(keys.path, str) else list(keys.path) if keys else []
        if keys is None or not any(named) or any(map(is_remote, named)):
            if keys is not None:
                self._converter.report(entry.line, f"{path}: {LOCAL_ONLY if any(named) else 'the path is empty'}")
            return None
        paths = [path_of(scope.directory, one) for one in named if one]
        if paths[0] in scope.chain:
            cycle = " -> ".join([*scope.chain[scope.chain.index(paths[0]) :], paths[0]])
            self._converter.report(entry.line, f"{path}: a cycle: {cycle} (remove one of them)")
            return None
        prefix = os.path.normpath(os.path.expanduser(keys.project_directory or os.path.dirname(named[0]) or "."))
        directory = scope.directory if prefix == "." else os.path.join(scope.directory, prefix)
        try:
            lookup = self._variables(keys, directory, scope)
            files = [(one, self._files.named(one, entry.line, lookup)) for one in paths]
        except UnreadableError as error:
            self._converter.report(entry.line, f"{path}: {error}")
            return None
        tree = self._project(files, Scope(directory, lookup, (*scope.chain, paths[0])))
        if lookup is not scope.lookup:
            tree = _with_values(tree, lookup)
        return tree if prefix == "." else Rebase(prefix, self._text_of).tree(tree)

    def _keys(self, entry: Node, path: str) -> IncludeKeys | None:
        if isinstance(entry.value, str):
            text = self._converter.text(entry, path)
            return None if text is None else IncludeKeys(path=text)
        keys = self._converter.convert(entry, IncludeKeys, path)
        return None if keys is UNSET else keys

    def _variables(self, keys: IncludeKeys, directory: str, scope: Scope) -> Callable[[str], str | None] | None:
        """The variables of an included file, None for those of the input. Raises UnreadableError."""
        if keys.env_file:
            names = [keys.env_file] if isinstance(keys.env_file, str) else keys.env_file
            paths = [path_of(scope.directory, name) for name in names if name]
        else:
            paths = list(filter(os.path.isfile, [os.path.join(directory, ".env")]))
        found = self._environment.of_included(paths, scope.lookup or self._environment.lookup)
        return found or scope.lookup

    def _add(self, around: dict[str, Node], tree: dict[str, Node]) -> None:
        """Add what an included file has to the keys of the file that includes it."""
        if _SETTINGS in tree:
            text = f"{_SETTINGS}: ignored in an included file (write it in the file that includes it)"
            self._converter.report(tree[_SETTINGS].line, text, warning=True)
        for kind in _IMPORTED:
            added = tree.get(kind)
            present = around.get(kind)
            if added is None or present is None or not isinstance(present.value, dict):
                around.update({kind: added} if added and (present is None or present.value is None) else {})
            elif isinstance(added.value, dict):
                children = dict(present.value)
                for name, child in added.value.items():
                    other = children.get(name)
                    if other is None or other.tag == RESET:
                        children[name] = child
                    elif not self._same(other, child):
                        where = located(self._converter.file, child.line)
                        do = "rename one, or write a second file into path: of the include, which overrides the first"
                        self._converter.report(other.line, f"{kind}.{name}: also in {where}, which is included ({do})")
                around[kind] = present.with_value(children)

    def _same(self, one: Node, other: Node) -> bool:
        """Whether two values are equal, wherever they are written."""
        if isinstance(one.value, dict) and isinstance(other.value, dict):
            mine, their = one.value, other.value
            return mine.keys() == their.keys() and all(self._same(mine[key], their[key]) for key in mine)
        if isinstance(one.value, list) and isinstance(other.value, list):
            pairs = zip(one.value, other.value, strict=False)
            return len(one.value) == len(other.value) and all(self._same(*pair) for pair in pairs)
        return self._text_of(one) == self._text_of(other)


def _with_values(tree: Node, lookup: Callable[[str], str | None] | None) -> Node:
    """The tree with the file's own values for the names without one in `environment`."""
    services = tree.value.get("services") if isinstance(tree.value, dict) else None
    if lookup is None or services is None or not isinstance(services.value, dict) or not isinstance(tree.value, dict):
        return tree
    changed: dict[str, Node] = {}
    for name, service in services.value.items():
        if isinstance(service.value, dict) and "environment" in service.value:
            variables = _given(service.value["environment"], lookup)
            changed[name] = service.with_value({**service.value, "environment": variables})
    return tree.with_value({**tree.value, "services": services.with_value({**services.value, **changed})})


def _given(node: Node, lookup: Callable[[str], str | None]) -> Node:
    def text(value: str, like: Node) -> Node:
        return Node(value, like.line, value, like.tag)

    if isinstance(node.value, list):
        items = []
        for item in node.value:
            value = lookup(item.value) if isinstance(item.value, str) and "=" not in item.value else None
            items.append(item if value is None else text(f"{item.value}={value.replace('$', '$$')}", item))
        return node.with_value(items)
    if isinstance(node.value, dict):
        changed = {
            name: text(value.replace("$", "$$"), child)
            for name, child in node.value.items()
            if child.value is None and (value := lookup(name)) is not None
        }
        return node.with_value({**node.value, **changed})
    return node
