"""The fish part of completion.py: one `complete` line for each command, option and argument."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.cli.completion import Row
    from cohabit.cli.options import Option

_HEAD = r"""# fish completion for cohabit: cohabit completion fish > ~/.config/fish/completions/cohabit.fish
function __cohabit_words
    commandline -opc
end

function __cohabit_command
    set -l words (__cohabit_words)
    test (count $words) -gt 1; and test $words[2] = $argv[1]
end

function __cohabit_no_command
    test (count (__cohabit_words)) -eq 1
end

# __cohabit_argument SUBCOMMAND N [OPTIONS WITH A VALUE]: whether it is the Nth argument; for -N, the Nth or a later one
function __cohabit_argument
    __cohabit_command $argv[1]; or return 1
    set -l number 1
    set -l value 0
    for word in (__cohabit_words)[3..-1]
        if test $value -eq 1
            set value 0
        else if contains -- $word $argv[3..-1]
            set value 1
        else if not string match -q -- '-*' $word
            set number (math $number + 1)
        end
    end
    test $number -eq $argv[2]; or test $number -ge (math 0 - $argv[2]) -a $argv[2] -lt 0
end

function __cohabit_services
    cohabit ps -q 2>/dev/null
end

function __cohabit_numbers
    cohabit ps -q 2>/dev/null | string replace -r -- '(-[0-9]+)?$' '=' | sort -u
end

complete -c cohabit -f
complete -c cohabit -n __cohabit_no_command -l help -d 'list the commands'
complete -c cohabit -n __cohabit_no_command -l version -d 'print the version'
"""
_CANDIDATES = {
    "SERVICE": "(__cohabit_services)",
    "SERVICE=N": "(__cohabit_numbers)",
    "COMMAND": "(__fish_complete_command)",
    "USER": "(__fish_complete_users)",
    "DIR": "(__fish_complete_directories)",
    "FILE": "(__fish_complete_path)",
    "DOCKERFILE": "(__fish_complete_path)",
    "PATH": "(__fish_complete_path)",
}


def script(rows: Sequence[Row], signals: Sequence[str]) -> str:
    """The whole script."""
    names = " ".join(row.name for row in rows)
    lines = [f"complete -c cohabit -n __cohabit_no_command -a {row.name} -d {_quoted(row.summary)}" for row in rows]
    for row in rows:
        lines += [_option(row, option, signals) for option in row.options]
        lines += _arguments(row, signals, names)
    return _HEAD + "\n".join(lines) + "\n"


def _option(row: Row, option: Option, signals: Sequence[str]) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = f" -x -a {_quoted(_candidates(option.metavar, signals, ''))}" if option.metavar else ""
    condition = _quoted(f"__cohabit_command {row.name}")
    return f"complete -c cohabit -n {condition} {names} -d {_quoted(option.help)}{value}"


def _arguments(row: Row, signals: Sequence[str], names: str) -> Iterator[str]:
    values = " ".join(name for option in row.options if option.metavar for name in option.names)
    for place, kind in enumerate(row.kinds, 1):
        number = -place if place == len(row.kinds) else place
        candidates = _candidates(kind, signals, names)
        if kind == "COMMAND" and not row.intermixed:
            candidates = f"(__fish_complete_subcommand --fcs-skip={place + 1})"
        condition = _quoted(f"__cohabit_argument {row.name} {number} {values}".rstrip())
        yield f"complete -c cohabit -n {condition} -a {_quoted(candidates)}"


def _candidates(kind: str, signals: Sequence[str], names: str) -> str:
    known = {"SIGNAL": " ".join(signals), "SUBCOMMAND": names, **_CANDIDATES}
    return kind.replace("|", " ") if "|" in kind else known.get(kind, "")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
