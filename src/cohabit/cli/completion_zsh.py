"""The zsh part of completion.py: _arguments of zsh's completion system, which shows the help of each option."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.cli.completion import Row
    from cohabit.cli.options import Option

_SCRIPT = r"""#compdef cohabit
# zsh completion for cohabit: source <(cohabit completion zsh), after compinit
_cohabit_services() {
    local -a found
    found=(${(f)"$(cohabit ps -q 2>/dev/null)"})
    compadd -a found
}

_cohabit_numbers() {
    local -a found
    found=(${(f)"$(cohabit ps -q 2>/dev/null | sed 's/-[0-9]*$//; s/$/=/' | sort -u)"})
    compadd -S '' -a found
}

_cohabit_wrapped_command() {
    if [[ $words[1] == -- ]]; then
        shift words
        (( CURRENT-- ))
    fi
    _normal
}

_cohabit_commands() {
    local -a commands
    commands=(
@COMMANDS@
    )
    _describe -t commands command commands
}

_cohabit() {
    local curcontext=$curcontext state line
    _arguments -C -s @BEFORE@ '(-): :_cohabit_commands' '(-)*:: :->command'
    [[ $state == command ]] || return
    case $words[1] in
@CASES@
    esac
}

if [[ $funcstack[1] == _cohabit ]]; then
    _cohabit "$@"
else
    compdef _cohabit cohabit
fi
"""
_ACTIONS = {
    "SERVICE": "_cohabit_services",
    "SERVICE=N": "_cohabit_numbers",
    "SUBCOMMAND": "_cohabit_commands",
    "COMMAND": "_command_names -e",
    "FILE": "_files",
    "DOCKERFILE": "_files",
    "PATH": "_files",
    "DIR": "_files -/",
    "USER": "_users",
}


def script(rows: Sequence[Row], signals: Sequence[str], before: Sequence[Option]) -> str:
    """The whole script. before: the options before a command."""
    commands = "\n".join(f"        {_quoted(f'{row.name}:{_plain(row.summary)}')}" for row in rows)
    cases: list[str] = []
    for row in rows:
        specs = [*_options(row.options, signals), *_arguments(row, signals)]
        cases += [f"        {row.name})", f"            _arguments -s {' '.join(specs)} ;;"]
    text = _SCRIPT.replace("@COMMANDS@", commands).replace("@CASES@", "\n".join(cases))
    return text.replace("@BEFORE@", " ".join(_options(before, signals)))


def _options(options: Sequence[Option], signals: Sequence[str]) -> Iterator[str]:
    for option in options:
        for name in option.names:
            once = "*" if option.repeat else f"({' '.join(option.names)})"
            ending = "" if not option.metavar else "=" if name.startswith("--") else "+"
            value = f":{option.metavar.lower().replace(':', ' ')}:{_action(option.metavar, signals)}"
            yield _quoted(f"{once}{name}{ending}[{_plain(option.help)}]{value if option.metavar else ''}")


def _arguments(row: Row, signals: Sequence[str]) -> Iterator[str]:
    for place, kind in enumerate(row.kinds, 1):
        if kind == "COMMAND" and not row.intermixed:
            yield _quoted("*:::command:_cohabit_wrapped_command")
            return
        last = place == len(row.kinds)
        yield _quoted(f"{'*' if last else place}:{kind.lower()}:{_action(kind, signals)}")


def _action(kind: str, signals: Sequence[str]) -> str:
    if kind == "SIGNAL":
        return f"({' '.join(signals)})"
    if "|" in kind:
        return f"({kind.replace('|', ' ')})"
    return _ACTIONS.get(kind, " ")


def _plain(text: str) -> str:
    """Without the characters that _arguments and _describe interpret."""
    return text.replace("[", "(").replace("]", ")").replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
