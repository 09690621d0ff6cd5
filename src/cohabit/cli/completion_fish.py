"""The fish part of completion.py: one `complete` line for each command, option and argument."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cohabit.cli.completion import Row
    from cohabit.cli.options import Option

_HEAD = r"""# fish completion for cohabit: cohabit completion fish > ~/.config/fish/completions/cohabit.fish
# __cohabit_words: the words from the command on, without the options before it
function __cohabit_words
    set -l words (commandline -opc)[2..-1]
    set -l value 0
    while test (count $words) -gt 0
        if test $value -eq 1
            set value 0
        else if contains -- $words[1] @VALUES@
            set value 1
        else if not string match -q -- '-*' $words[1]
            printf '%s\n' $words
            return
        end
        set -e words[1]
    end
end

function __cohabit_command
    set -l words (__cohabit_words)
    test (count $words) -gt 0; and test $words[1] = $argv[1]
end

function __cohabit_no_command
    test (count (__cohabit_words)) -eq 0
end

# __cohabit_wrapped N: complete the command line that is the Nth argument
function __cohabit_wrapped
    set -l before (math (count (commandline -opc)) - (count (__cohabit_words)))
    __fish_complete_subcommand --fcs-skip=(math $before + $argv[1])
end

# __cohabit_argument SUBCOMMAND N [OPTIONS WITH A VALUE]: whether it is the Nth argument; for -N, the Nth or a later one
function __cohabit_argument
    __cohabit_command $argv[1]; or return 1
    set -l number 1
    set -l value 0
    for word in (__cohabit_words)[2..-1]
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


def script(rows: Sequence[Row], signals: Sequence[str], before: Sequence[Option]) -> str:
    """The whole script. before: the options before a command."""
    names = " ".join(row.name for row in rows)
    lines = [f"complete -c cohabit -n __cohabit_no_command -a {row.name} -d {_quoted(row.summary)}" for row in rows]
    lines += [_option("__cohabit_no_command", option, signals) for option in before]
    for row in rows:
        lines += [_option(f"__cohabit_command {row.name}", option, signals) for option in row.options]
        lines += _arguments(row, signals, names)
    return _HEAD.replace("@VALUES@", _with_a_value(before)) + "\n".join(lines) + "\n"


def _with_a_value(options: Sequence[Option]) -> str:
    return " ".join(name for option in options if option.metavar for name in option.names)


def _option(condition: str, option: Option, signals: Sequence[str]) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = f" -x -a {_quoted(_candidates(option.metavar, signals, ''))}" if option.metavar else ""
    return f"complete -c cohabit -n {_quoted(condition)} {names} -d {_quoted(option.help)}{value}"


def _arguments(row: Row, signals: Sequence[str], names: str) -> Iterator[str]:
    values = _with_a_value(row.options)
    for place, kind in enumerate(row.kinds, 1):
        number = -place if place == len(row.kinds) else place
        candidates = _candidates(kind, signals, names)
        if kind == "COMMAND" and not row.intermixed:
            candidates = f"(__cohabit_wrapped {place})"
        condition = _quoted(f"__cohabit_argument {row.name} {number} {values}".rstrip())
        yield f"complete -c cohabit -n {condition} -a {_quoted(candidates)}"


def _candidates(kind: str, signals: Sequence[str], names: str) -> str:
    known = {"SIGNAL": " ".join(signals), "SUBCOMMAND": names, **_CANDIDATES}
    return kind.replace("|", " ") if "|" in kind else known.get(kind, "")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
