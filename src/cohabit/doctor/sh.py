"""Parse a shell script into simple commands and blocks, to see what runs, where, and in the background. Pure.

The grammar is that of POSIX XCU 2.10 with bash's [[ ]], (( )), select and function. A text that does not fit raises
UnparsedError; the caller then says that the script cannot be judged. Aliases and sourced files are not followed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from cohabit.doctor.sh_tokens import OPERATOR, REDIRECTION, WORD, Token, UnparsedError, Word, tokens
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[[^]]*\])?\+?=", re.ASCII)
_NAME = re.compile(r"[^\s$`\"'(){}<>;&|=]+")
_LIST_OPERATORS = frozenset({";", "&", "&&", "||", "|", "|&", "\n"})
_CASE_ENDS = frozenset({";;", ";&", ";;&"})
# Reserved words that close or continue a block.
_CLOSING = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})
_DEEPEST = 60
IF, CASE, LOOP, SUBSHELL, GROUP, FUNCTION = "if", "case", "loop", "subshell", "group", "function"


class Simple(Record):
    """A simple command.

    words: without assignments and redirections. assigns: the names of its leading NAME=value. source: its text as
    written. operator: what follows it, "" at the end. background: `&` applies to it or to the list that it belongs to.
    """

    words: tuple[Word, ...]
    assigns: tuple[str, ...]
    source: str
    line: int
    operator: str = ""
    background: bool = False

    @property
    def execs(self) -> bool:
        """Whether it replaces the shell: `exec` with a program."""
        return len(self.words) > 1 and self.words[0].text == "exec"

    @property
    def argv(self) -> tuple[str, ...]:
        """The texts of its words without a leading `exec` and its options."""
        texts = [word.text for word in self.words]
        if self.execs:
            del texts[0]
            while len(texts) > 1 and texts[0].startswith("-"):
                del texts[: 2 if texts[0] == "-a" else 1]
        return tuple(texts)

    @property
    def program(self) -> str:
        """The name of its program, without the directory."""
        return self.argv[0].rpartition("/")[2] if self.argv else ""


class Block(Record):
    """A compound command or a function. kind: IF, CASE, LOOP, SUBSHELL, GROUP or FUNCTION.

    heads: the conditions of IF and LOOP. branches: each list that may be executed. name: of a function. source: its
    text as written.
    """

    kind: str
    line: int
    heads: tuple[tuple[Node, ...], ...]
    branches: tuple[tuple[Node, ...], ...]
    source: str = ""
    name: str = ""
    operator: str = ""
    background: bool = False


Node: TypeAlias = Simple | Block


def parse(text: str) -> tuple[Node, ...]:
    """Return the commands of a script. Raises UnparsedError."""
    return _Parser(text).script()


def walk(nodes: Sequence[Node], *, functions: bool = False) -> Iterator[Simple]:
    """All simple commands, inside blocks and conditions too; those of functions only if asked for."""
    for node in nodes:
        if isinstance(node, Simple):
            yield node
        elif node.kind != FUNCTION or functions:
            for part in (*node.heads, *node.branches):
                yield from walk(part, functions=functions)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    def script(self) -> tuple[Node, ...]:
        """The whole text."""
        nodes = self._list(frozenset())
        if self._at < len(self._tokens):
            raise self._unexpected()
        return nodes

    # --- tokens ---

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _operator(self) -> str:
        """The operator that comes next, "" for another token."""
        token = self._peek()
        return token.word.text if token and token.kind == OPERATOR else ""

    def _reserved(self) -> str:
        """The unquoted word that comes next, "" for another token."""
        token = self._peek()
        return token.word.text if token and token.kind == WORD and not token.word.quoted else ""

    def _unexpected(self) -> UnparsedError:
        token = self._peek()
        if token is None:
            return UnparsedError(self._tokens[-1].line if self._tokens else 1, "a block is not closed")
        shown = {"\n": "the end of the line"}.get(token.word.text, repr(token.word.text))
        return UnparsedError(token.line, f"{shown} is not understood here")

    def _expect(self, word: str) -> None:
        if word not in (self._reserved(), self._operator()):
            raise self._unexpected()
        self._at += 1

    def _skip_newlines(self) -> None:
        while self._operator() == "\n":
            self._at += 1

    # --- grammar ---

    def _list(self, ends: frozenset[str]) -> tuple[Node, ...]:
        """The commands up to one of the words or operators `ends`, which is left; () for the end of the text."""
        nodes: list[Node] = []
        begin = 0  # of the and-or list to which `&` applies
        while True:
            while self._operator() in ("\n", ";") and self._operator() not in ends:
                self._at += 1
            if self._peek() is None or (self._operator() or self._reserved()) in ends:
                if self._peek() is None and ends:
                    raise self._unexpected()
                return tuple(nodes)
            node = self._command()
            operator = self._operator()
            if operator in _LIST_OPERATORS:
                self._at += 1
            elif self._peek() is not None and operator not in ends:
                raise self._unexpected()
            nodes.append(node.replace(operator=operator if operator in _LIST_OPERATORS else ""))
            if operator == "&":
                nodes[begin:] = [one.replace(background=True) for one in nodes[begin:]]
            if operator not in ("&&", "||", "|", "|&"):
                begin = len(nodes)

    def _command(self) -> Node:
        self._skip_newlines()
        word = self._reserved()
        if word in ("!", "time"):
            self._at += 1
            return self._command()
        token = self._peek()
        if token is None:
            raise self._unexpected()
        start = self._at
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnparsedError(token.line, "the blocks are nested too deeply")
        block = self._block(word)
        self._depth -= 1
        if block is None:
            if word in _CLOSING:
                raise self._unexpected()
            return self._simple()
        while (following := self._peek()) and following.kind == REDIRECTION:
            self._at += 1
        return block.replace(line=token.line, source=self._source(start))

    def _source(self, start: int) -> str:
        return self._text[self._tokens[start].start : self._tokens[self._at - 1].end]

    def _block(self, word: str) -> Block | None:
        """The compound command that begins here; None for a simple command."""
        if self._operator() == "(":
            self._at += 1
            body = self._list(frozenset({")"}))
            self._expect(")")
            return Block(SUBSHELL, 0, (), (body,))
        if word == "{":
            self._at += 1
            body = self._list(frozenset({"}"}))
            self._expect("}")
            return Block(GROUP, 0, (), (body,))
        if word == "if":
            return self._if()
        if word in ("while", "until", "for", "select"):
            return self._loop(word)
        if word == "case":
            return self._case()
        if word == "coproc":
            raise self._unexpected()
        return self._function(word)

    def _if(self) -> Block:
        heads: list[tuple[Node, ...]] = []
        branches: list[tuple[Node, ...]] = []
        while self._reserved() in ("if", "elif"):
            self._at += 1
            heads.append(self._list(frozenset({"then"})))
            self._expect("then")
            branches.append(self._list(frozenset({"elif", "else", "fi"})))
        if self._reserved() == "else":
            self._at += 1
            branches.append(self._list(frozenset({"fi"})))
        self._expect("fi")
        return Block(IF, 0, tuple(heads), tuple(branches))

    def _loop(self, word: str) -> Block:
        self._at += 1
        head: tuple[Node, ...] = ()
        if word in ("while", "until"):
            head = self._list(frozenset({"do"}))
        else:
            while (token := self._peek()) and token.kind == WORD and self._reserved() != "do":
                self._at += 1
            while self._operator() in ("\n", ";"):
                self._at += 1
        self._expect("do")
        body = self._list(frozenset({"done"}))
        self._expect("done")
        return Block(LOOP, 0, (head,), (body,), name=word)

    def _case(self) -> Block:
        self._at += 2
        self._skip_newlines()
        self._expect("in")
        branches: list[tuple[Node, ...]] = []
        self._skip_newlines()
        while self._reserved() != "esac":
            if self._operator() == "(":
                self._at += 1
            while (token := self._peek()) and (token.kind == WORD or token.word.text == "|"):
                self._at += 1
            self._expect(")")
            branches.append(self._list(_CASE_ENDS | {"esac"}))
            if self._operator() in _CASE_ENDS:
                self._at += 1
            self._skip_newlines()
        self._at += 1
        return Block(CASE, 0, (), tuple(branches))

    def _function(self, word: str) -> Block | None:
        """`name() BLOCK` or `function name BLOCK`."""
        following = [token.word.text for token in self._tokens[self._at : self._at + 3]]
        if word == "function":
            name = following[1] if len(following) > 1 else ""
            self._at += 2
            if self._operator() == "(":
                self._at += 1
                self._expect(")")
        elif _NAME.fullmatch(word) and following[1:] == ["(", ")"]:
            name = word
            self._at += 3
        else:
            return None
        self._skip_newlines()
        body = self._command()
        return Block(FUNCTION, 0, (), ((body,),), name=name)

    def _simple(self) -> Simple:
        start = self._at
        words: list[Word] = []
        assigns: list[str] = []
        condition = self._reserved() == "[["
        while token := self._peek():
            if token.kind == WORD:
                found = _ASSIGNMENT.match(self._text[token.start : token.end])
                if found and not words:
                    assigns.append(found[1])
                else:
                    words.append(token.word)
            elif token.kind == OPERATOR and not condition:
                break
            self._at += 1
            if condition and token.kind == WORD and token.word.text == "]]":
                condition = False
        if condition or self._at == start:
            raise self._unexpected()
        return Simple(tuple(words), tuple(assigns), self._source(start), self._tokens[start].line)
