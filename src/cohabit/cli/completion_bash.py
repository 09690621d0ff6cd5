"""The bash half of completion.py. It needs nothing but bash: no package bash-completion, which containers lack.

bash takes "=" for a word of its own (COMP_WORDBREAKS), so --file=x arrives as three; and a command line to run is
completed as far as bash can alone: the command, then files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.cli.completion import Row

_SCRIPT = r"""# bash completion for cohabit: source <(cohabit completion bash)
_cohabit_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current"); }

_cohabit_kind() {
    case $1 in
        SERVICE) _cohabit_words "$(cohabit ps -q 2>/dev/null)" ;;
        SERVICE=N) _cohabit_words "$(cohabit ps -q 2>/dev/null | sed 's/-[0-9]*$//; s/$/=/' | sort -u)"
            compopt -o nospace ;;
        SIGNAL) _cohabit_words "@SIGNALS@" ;;
        VERB) _cohabit_words "@VERBS@" ;;
        COMMAND) mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u) ;;
        FILE | DOCKERFILE | PATH) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames ;;
        DIR) mapfile -t COMPREPLY < <(compgen -d -- "$current"); compopt -o filenames ;;
        USER) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
        *'|'*) _cohabit_words "${1//|/ }" ;;
    esac
} 2>/dev/null

_cohabit() {
    local current=${COMP_WORDS[COMP_CWORD]} options='' values='' takes='' commands='' word pair kind i
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _cohabit_words "@VERBS@ --help --version"
        return
    fi
    case ${COMP_WORDS[1]} in
@CASES@
        *) return ;;
    esac
    # Which argument is it, or the value of which option?
    local -a kinds=($takes)
    local number=0 value='' ended=''
    for ((i = 2; i < COMP_CWORD; i++)); do
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
        else
            number=$((number + 1))
            [[ -z $commands ]] || ended=1
        fi
    done
    [[ $current != = ]] || current=''
    if [[ -n $value ]]; then
        _cohabit_kind "$value"
    elif [[ -z $ended && $current == -* ]]; then
        _cohabit_words "$options"
    elif ((${#kinds[@]})); then
        if ((number < ${#kinds[@]})); then
            _cohabit_kind "${kinds[number]}"
        elif [[ ${kinds[-1]} == COMMAND ]]; then
            _cohabit_kind FILE
        else
            _cohabit_kind "${kinds[-1]}"
        fi
    fi
}
complete -F _cohabit cohabit
"""


def script(rows: Sequence[Row], signals: Sequence[str]) -> str:
    """The whole script."""
    cases = []
    for row in rows:
        names = " ".join(name for option in row.options for name in option.names)
        values = " ".join(f"{name}:{o.metavar}" for o in row.options if o.metavar for name in o.names)
        words = [f"options='{names}'", f"values='{values}'", f"takes='{' '.join(row.takes)}'"]
        words += ["commands=1"] if not row.intermixed else []
        cases.append(f"        {row.name}) {' '.join(words)} ;;")
    verbs = " ".join(row.name for row in rows)
    text = _SCRIPT.replace("@CASES@", "\n".join(cases)).replace("@VERBS@", verbs)
    return text.replace("@SIGNALS@", " ".join(signals))
