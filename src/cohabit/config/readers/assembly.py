"""All files of one input -> one tree: several files, documents, `extends` and `include` (compose-spec 05, 13 and 14).

The order is Compose's. For each document: `extends` of its services, then its includes; then it is merged into the
documents before it. Paths of a file in another directory are rewritten, and each line knows its file, so that what
follows reads the result as one file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cohabit.config.keys.merge import Merger
from cohabit.config.readers.extends import Extends
from cohabit.config.readers.files import Files, place
from cohabit.config.readers.include import Include, Scope
from cohabit.config.values.interpolate import InterpolationError, expand
from cohabit.plan.node import Line, Node, SyntaxProblemError

if TYPE_CHECKING:
    from cohabit.config.keys.convert import Converter
    from cohabit.config.keys.environment import Environment
    from cohabit.config.readers.find import Source


class Assembly:
    """Makes one tree of the files of an input."""

    def __init__(self, environment: Environment, converter: Converter) -> None:
        self.files = Files(converter.diagnostics)
        self._environment = environment
        self._converter = converter
        self._merger = Merger(converter, self._text_of)
        self._extends = Extends(self.files, self._merger, converter, self._text_of)
        self._include = Include(self.files, environment, converter, self._text_of, self._project)

    def tree(self, source: Source) -> Node:
        """The tree of an input. Raises SyntaxProblemError."""
        inputs = [(one, self._parse(one)) for one in (source, *source.others)]
        for _, documents in inputs:
            for document in documents:
                if isinstance(document.value, dict) and "name" in document.value:
                    self._environment.name_project(document.value["name"].text)
        documents = inputs[0][1]
        if len(inputs) == 1 and len(documents) <= 1 and not self.files.has_resets and not _names_files(documents):
            tree = documents[0] if documents else Node(None, 1)
        else:
            for one, documents in inputs:
                place(documents, one.name)
            scope = Scope(self._environment.directory, None, (os.path.normpath(source.path),))
            tree = self._project([(one.path, documents) for one, documents in inputs], scope)
            found = self._converter.diagnostics
            found[:] = dict.fromkeys(found)  # a file that is included twice has its problems once
        return self._merger.unique(tree)

    def _parse(self, source: Source) -> list[Node]:
        try:
            return self.files.parse(source.path, source.name, source.text)
        except SyntaxProblemError as error:
            raise SyntaxProblemError(str(error), Line(error.line, source.name)) from error

    def _text_of(self, node: Node) -> str:
        """The text of a scalar after interpolation; a text of its own for another value."""
        if isinstance(node.value, (dict, list)):
            return f"\0{id(node)}"
        if not isinstance(node.value, str) or "$" not in node.value:
            return node.text
        try:
            return expand(node.value, self._converter.lookup_of(node), [])
        except InterpolationError:
            return node.value  # reported when the value is read

    def _project(self, files: list[tuple[str, list[Node]]], scope: Scope) -> Node:
        """Files, each merged into those before it. files: the path and the documents of each."""
        tree: Node | None = None
        for path, documents in files:
            for document in documents:
                if isinstance(document.value, dict):
                    read = self._include.applied(self._extends.applied(document, path, scope), scope)
                    tree = self._merger.merged(tree, read) if tree else read
                    tree = self._merger.pruned(tree) if self.files.has_resets else tree
                elif document.value is not None:
                    got = document.describe()
                    self._converter.report(document.line, f"expected a map of keys such as services:, got {got}")
        return tree or Node(None, 1)


def _names_files(documents: list[Node]) -> bool:
    """Whether a document has `include`, or a service with `extends`."""
    for document in documents:
        if isinstance(document.value, dict):
            services = document.value.get("services")
            each = services.value.values() if services and isinstance(services.value, dict) else ()
            extends = any(isinstance(one.value, dict) and "extends" in one.value for one in each)
            if extends or "include" in document.value:
                return True
    return False
