"""The bash part of completion.py. It needs only bash, not the package bash-completion, which containers lack.

In bash, "=" is a separate word (COMP_WORDBREAKS), so --file=x arrives as three words. Of a command line to run, the
command is completed, then files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.cli.completion import Row
    from cohabit.cli.options import Option

_SCRIPT = r"""# bash completion for cohabit: source <(cohabit completion bash)
_cohabit_offer() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }

_cohabit_kind() {
    case $1 in
        SERVICE) _cohabit_offer "$(cohabit ps -q 2>/dev/null)" ;;
        SERVICE=N) _cohabit_offer "$(cohabit ps -q 2>/dev/null | sed 's/-[0-9]*$//; s/$/=/' | sort -u)"
            compopt -o nospace ;;
        SIGNAL) _cohabit_offer "@SIGNALS@" ;;
        SUBCOMMAND) _cohabit_offer "@SUBCOMMANDS@" ;;
        COMMAND) mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u) ;;
        FILE | DOCKERFILE | PATH) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames ;;
        DIR) mapfile -t COMPREPLY < <(compgen -d -- "$current"); compopt -o filenames ;;
        USER) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
        *'|'*) _cohabit_offer "${1//|/ }" ;;
    esac
} 2>/dev/null

_cohabit() {
    local current=${COMP_WORDS[COMP_CWORD]} word pair i
    local @BEFORE@ kinds=SUBCOMMAND wraps=''
    COMPREPLY=()
    # Find the command, count the arguments before the cursor, and find the option whose value is completed.
    local number=0 value='' ended='' command=''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            continue
        elif [[ -n $value ]]; then
            value=''
        elif [[ $word == -- ]]; then
            ended=1
        elif [[ -z $ended && $word == -?* ]]; then
            for pair in $values; do
                [[ $word != "${pair%%:*}" ]] || value=${pair#*:}
            done
        elif [[ -z $command ]]; then
            command=$word kinds='' wraps=''
            case $word in
@CASES@
                *) return ;;
            esac
        else
            number=$((number + 1))
            [[ -z $wraps ]] || ended=1
        fi
    done
    local -a arguments=($kinds)
    [[ $current != = ]] || current=''
    if [[ -n $value ]]; then
        _cohabit_kind "$value"
    elif [[ -z $ended && $current == -* ]]; then
        _cohabit_offer "$options"
    elif ((${#arguments[@]})); then
        if ((number < ${#arguments[@]})); then
            _cohabit_kind "${arguments[number]}"
        elif [[ ${arguments[-1]} == COMMAND ]]; then
            _cohabit_kind FILE
        else
            _cohabit_kind "${arguments[-1]}"
        fi
    fi
}
complete -F _cohabit cohabit
"""


def script(rows: Sequence[Row], signals: Sequence[str], before: Sequence[Option]) -> str:
    """The whole script. before: the options before a command."""
    cases = []
    for row in rows:
        settings = [*_settings(row.options), f"kinds='{' '.join(row.kinds)}'"]
        settings += ["wraps=1"] if not row.intermixed else []
        cases.append(f"                {row.name}) {' '.join(settings)} ;;")
    names = " ".join(row.name for row in rows)
    text = _SCRIPT.replace("@CASES@", "\n".join(cases)).replace("@SUBCOMMANDS@", names)
    return text.replace("@BEFORE@", " ".join(_settings(before))).replace("@SIGNALS@", " ".join(signals))


def _settings(options: Sequence[Option]) -> list[str]:
    names = " ".join(name for option in options for name in option.names)
    values = " ".join(f"{name}:{o.metavar}" for o in options if o.metavar for name in o.names)
    return [f"options='{names}'", f"values='{values}'"]
