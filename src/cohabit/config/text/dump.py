"""Values -> YAML text that is read back as the same values, by our parser and by YAML 1.1.

A value is a dict, list, string, number, True, False, None, or a Node, which is written with its own text: an export
mixes values of a Plan with keys as they are in the file.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from cohabit.config.text.yaml_text import plain_scalar
from cohabit.plan.node import Node

_STRING = "tag:yaml.org,2002:str"
_NO_WRAP = 1 << 30
_ESCAPED = re.compile(r"\\(?:\\|uDC([89A-F][0-9A-F]))")


class _Dumper(yaml.SafeDumper):
    """PyYAML's, without aliases, and with quotes where YAML 1.2 has them."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write a value that occurs twice in full each time."""
        return True


def dump(value: Any) -> str:
    """The text, in block style, keys in their order. Bytes that are not UTF-8 (surrogates) stay as they are."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=_NO_WRAP
    )
    # PyYAML escapes a surrogate, and no parser reads the escape. Strings with a backslash are in double quotes, where
    # a backslash is always doubled.
    return _ESCAPED.sub(lambda found: chr(0xDC00 + int(found[1], 16)) if found[1] else found[0], text)


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = "\\" in text or not text.isprintable() or plain_scalar(text) is not text
    return dumper.represent_scalar(_STRING, text, style='"' if quoted else None)


def _node(dumper: yaml.SafeDumper, node: Node) -> yaml.Node:
    """A tree as it was parsed: a number or a boolean keeps its text."""
    if isinstance(node.value, (str, dict, list)) or node.value is None:
        return dumper.represent_data(node.value)
    # With the tag that YAML 1.1 takes the text for, the text is written alone.
    tag = dumper.resolve(yaml.ScalarNode, node.text, (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, node.text)


_Dumper.add_representer(str, _string)
_Dumper.add_representer(Node, _node)
