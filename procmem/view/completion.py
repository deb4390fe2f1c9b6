"""Completion of command lines for bash, zsh and fish, made from the tables of the commands.

The scripts hold all words. They read PIDs and names of processes from /proc and start no program,
so that completion takes milliseconds.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from procmem.view.manual import CommandPage, ManualOption, Operand

__all__ = ["SHELLS", "bash_completion", "fish_completion", "zsh_completion"]


def every_page(pages: Iterable[CommandPage]) -> Iterator[CommandPage]:
    """The commands, each followed by its subcommands."""
    for page in pages:
        yield page
        yield from page.below


def quoted(text: str) -> str:
    """A word in single quotes, for all three shells."""
    return "'" + text.replace("'", "'\\''") + "'"


def first_sentence(text: str) -> str:
    """What fits beside a word: up to the first colon, semicolon or bracket, 60 characters."""
    short = re.split(r"[:;(]|\. ", " ".join(text.split()))[0].strip().rstrip(".,")
    return short if len(short) <= 60 else short[:57].rpartition(" ")[0] + " ..."


def grouped(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[list[str], str]]:
    """Patterns with the same text, joined in the order of their first."""
    found: dict[str, list[str]] = {}
    for pattern, text in rows:
        found.setdefault(text, []).append(pattern)
    for text, patterns in found.items():
        yield patterns, text


# ---- bash ------------------------------------------------------------------------------


BASH = r"""# bash completion for procmem, made from its option tables; see procmem completion --help

_procmem_add() {  # PREFIX WORD...: those words that start with the prefix
    local prefix=$1 word
    shift
    for word; do
        [[ $word == "$prefix"* ]] && COMPREPLY+=("$word")
    done
}

_procmem_files() {  # PREFIX [-d]: files, or only directories
    local name
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do
        COMPREPLY+=("$name")
    done < <(compgen "${2:--f}" -- "$1")
}

_procmem_names() {  # PREFIX: names of processes, of plain characters only
    local place name
    local -A seen=()
    for place in /proc/[0-9]*/comm; do
        { IFS= read -r name <"$place"; } 2>/dev/null || continue
        [[ $name && $name != *[!A-Za-z0-9_.+-]* && $name != -* ]] || continue
        [[ ${seen[$name]-} ]] && continue
        seen[$name]=1
        _procmem_add "$1" "$name"
    done
}

_procmem_complete() {  # KIND PREFIX
    local place
    case $1 in
        pid)
            for place in /proc/[0-9]*; do
                _procmem_add "$2" "${place#/proc/}"
            done
            _procmem_add "$2" self
            _procmem_names "$2"
            _procmem_files "$2" ;;
        name) _procmem_names "$2" ;;
        user)
            while IFS= read -r place; do COMPREPLY+=("$place"); done < <(compgen -u -- "$2") ;;
        command)
            if [[ $2 == */* ]]; then
                _procmem_files "$2"
            else
                while IFS= read -r place; do COMPREPLY+=("$place"); done < <(compgen -c -- "$2")
            fi ;;
        group)
            _procmem_files "$2" -d ;;
        lab)
            _procmem_add "$2" %(labs)s
            _procmem_files "$2" -d ;;
        dir) _procmem_files "$2" -d ;;
        file) _procmem_files "$2" ;;
    esac
}

_procmem_takes_value() {  # PAGE OPTION
    case "$1 $2" in
%(takes)s
            return 0 ;;
    esac
    return 1
}

_procmem_value() {  # PAGE OPTION PREFIX
    case "$1 $2" in
%(values)s
    esac
}

_procmem_operand() {  # PAGE NUMBER PREFIX
    case "$1 $2" in
%(operands)s
    esac
}

_procmem_options() {  # PAGE PREFIX
    case $1 in
%(options)s
    esac
}

_procmem() {
    # "--name=value" comes as three words, because "=" parts words.
    local cur=${COMP_WORDS[COMP_CWORD]} prev= page= option= word i first=1 number=0 dashes=
    local -a words=("${COMP_WORDS[@]:0:COMP_CWORD}")
    COMPREPLY=()
    if [[ $cur == = ]]; then
        cur=
        option=${words[${#words[@]} - 1]}
    elif [[ ${#words[@]} -gt 2 && ${words[${#words[@]} - 1]} == = ]]; then
        option=${words[${#words[@]} - 2]}
    fi
    page=${words[1]-}
    if [[ ! $page ]]; then
        _procmem_add "$cur" %(commands)s
        [[ $cur == -* ]] && _procmem_add "$cur" --help --version
        return
    fi
    first=2
    case "$page ${words[2]-}" in
%(below)s
            page+=" ${words[2]}"
            first=3 ;;
    esac
    for ((i = first; i < ${#words[@]}; i++)); do
        word=${words[i]}
        prev=
        if [[ $dashes || $word != -* || $word == - ]]; then
            ((++number))
            [[ $page == trace ]] && dashes=1
        elif [[ $word == -- ]]; then
            dashes=1
        elif [[ ${words[i + 1]-} == = ]]; then
            ((i += 2))
        elif _procmem_takes_value "$page" "$word"; then
            prev=$word
            ((++i))
        fi
    done
    if [[ $option ]]; then
        _procmem_value "$page" "$option" "$cur"
    elif [[ $prev && $i -gt ${#words[@]} ]]; then
        _procmem_value "$page" "$prev" "$cur"
    elif [[ ! $dashes && $cur == -* ]]; then
        _procmem_options "$page" "$cur"
    else
        _procmem_operand "$page" $number "$cur"
    fi
}

complete -F _procmem procmem procmem-live
"""


def bash_completion(pages: Sequence[CommandPage], labs: Sequence[str]) -> str:
    """The script for bash 4.2 or newer.

    Args:
        pages: the commands.
        labs: names of the labs that ship.
    """
    takes, values, options = [], [], []
    fixed: list[tuple[str, str]] = []
    repeated: list[tuple[str, str]] = []  # behind those, since the first pattern that fits counts
    for page in every_page(pages):
        options.append((quoted(page.name), bash_words(flags_of(page), "$2")))
        for option in page.options:
            for flag in option.flags if option.metavar else ():
                pattern = quoted(f"{page.name} {flag}")
                takes.append(pattern)
                if body := bash_offer(option):
                    values.append((pattern, body))
        rows = operand_rows(page)
        for number, one in rows:
            if body := bash_offer(one):
                place = quoted(f"{page.name} ") + ("*" if one.repeats else str(number))
                (repeated if one.repeats else fixed).append((place, body))
    parts = {
        "labs": " ".join(map(quoted, labs)),
        "commands": " ".join(page.name for page in pages),
        "takes": bash_patterns(takes),
        "values": bash_cases(values),
        "operands": "\n".join(map(bash_cases, (fixed, repeated))),
        "options": bash_cases(options),
        "below": bash_patterns(quoted(one.name) for page in pages for one in page.below),
    }
    return BASH % parts


def operand_rows(page: CommandPage) -> Iterator[tuple[int, Operand]]:
    """Each operand with its place, from 0; the last may repeat."""
    return iter(enumerate(page.operands))


def flags_of(page: CommandPage) -> list[str]:
    return [flag for option in page.options for flag in option.flags]


def bash_words(words: Iterable[str], prefix: str) -> str:
    return f'_procmem_add "{prefix}" ' + " ".join(map(quoted, words))


def bash_offer(one: ManualOption | Operand) -> str:
    """The shell command that offers what may stand there; empty if nothing is known."""
    done = [bash_words(one.choices, "$3")] if one.choices else []
    if one.completes:
        done.append(f'_procmem_complete {one.completes} "$3"')
    return "; ".join(done)


def bash_patterns(patterns: Iterable[str]) -> str:
    listed = list(patterns) or ["''"]  # a word that never comes
    return " |\\\n".join(f"        {pattern}" for pattern in listed) + ")"


def bash_cases(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        f"{bash_patterns(patterns)}\n            {text} ;;" for patterns, text in grouped(rows)
    )


# ---- zsh -------------------------------------------------------------------------------


ZSH = r"""#compdef procmem procmem-live
# zsh completion for procmem, made from its option tables; see procmem completion --help

_procmem_pids() {
    local -a found
    local place name
    for place in /proc/<->(N/); do
        name=
        { IFS= read -r name <$place/comm } 2>/dev/null
        found+=("${place:t}:${name//:/}")
    done
    found+=("self:this command")
    _describe -t processes process found
}

_procmem_names() {
    local -aU found
    local place name
    for place in /proc/<->/comm(N); do
        name=
        { IFS= read -r name <$place } 2>/dev/null
        [[ -n $name && $name != *[^A-Za-z0-9_.+-]* && $name != -* ]] && found+=("$name")
    done
    compadd -a found
}

_procmem_subjects() { _procmem_pids; _procmem_names; _files }

_procmem_labs() { compadd -- %(labs)s; _files -/ }

_procmem_page() {
    case $1 in
%(pages)s
    esac
}

_procmem() {
    local -a commands
    if (( CURRENT == 2 )); then
        commands=(
%(commands)s
        )
        _describe -t commands command commands
        compadd -- --help --version
        return
    fi
    local page=$words[2]
    case "$page $words[3]" in
%(below)s
            if (( CURRENT > 3 )); then
                page="$page $words[3]"
                shift words
                (( CURRENT-- ))
            fi ;;
    esac
    shift words
    (( CURRENT-- ))
    _procmem_page "$page"
}

_procmem "$@"
"""

ZSH_KINDS = {
    "pid": "_procmem_subjects",
    "name": "_procmem_names",
    "user": "_users",
    "command": "_command_names -e",
    "group": "_files -/",
    "lab": "_procmem_labs",
    "dir": "_files -/",
    "file": "_files",
}


def zsh_completion(pages: Sequence[CommandPage], labs: Sequence[str]) -> str:
    """The script for zsh; arguments as of bash_completion()."""
    cases = []
    for page in every_page(pages):
        specs = [spec for option in page.options for spec in zsh_option(option)]
        specs += [zsh_operand(number + 1, one) for number, one in operand_rows(page)]
        body = " \\\n                ".join(["_arguments -s -S", *specs])
        cases.append(f"        {zsh_word(page.name)})\n            {body} ;;")
    parts = {
        "labs": " ".join(map(quoted, labs)),
        "pages": "\n".join(cases),
        "commands": "\n".join(
            f"            {quoted(f'{page.name}:{page.summary}')}" for page in pages
        ),
        "below": bash_patterns(quoted(one.name) for page in pages for one in page.below),
    }
    return ZSH % parts


def zsh_word(text: str) -> str:
    return quoted(text)


def zsh_text(text: str) -> str:
    """A text for a specification of _arguments."""
    return re.sub(r"([\\\[\]:])", r"\\\1", text)


def zsh_action(one: ManualOption | Operand) -> str:
    if one.choices and one.completes:
        words = " ".join(one.choices)
        return f"{{compadd -- {words}; {ZSH_KINDS[one.completes]}}}"
    if one.choices:
        return "(" + " ".join(word.replace(":", r"\:") for word in one.choices) + ")"
    return ZSH_KINDS.get(one.completes, " ")


def zsh_option(option: ManualOption) -> Iterator[str]:
    says = zsh_text(first_sentence(option.help))
    for flag in option.flags:
        value = ""
        name = flag
        if option.metavar:
            value = f":{zsh_text(option.metavar)}:{zsh_action(option)}"
            name += "=" if flag.startswith("--") else "+"
        yield quoted(f"*{name}[{says}]{value}")


def zsh_operand(number: int, one: Operand) -> str:
    if one.completes == "command":
        return quoted("*::program:_normal")
    place = "*" if one.repeats else str(number)
    return quoted(f"{place}:{zsh_text(one.metavar)}:{zsh_action(one)}")


# ---- fish ------------------------------------------------------------------------------


FISH = r"""# fish completion for procmem, made from its option tables; see procmem completion --help

function __procmem_page # prints the command on the line, with its subcommand
    set -l words (commandline -opc)
    set -e words[1]
    test (count $words) -gt 0; or return
    if test (count $words) -gt 1
        switch "$words[1] $words[2]"
            case %(below)s
                echo "$words[1] $words[2]"
                return
        end
    end
    echo $words[1]
end

function __procmem_is # whether that is the command
    set -l page (__procmem_page)
    test "$page" = "$argv"
end

function __procmem_at # PAGE NUMBER...: whether that operand is typed; options' values aside
    set -l page $argv[1]
    __procmem_is $page; or return
    set -l words (commandline -opc)
    set -l number (math (count $words) - 1 - (count (string split ' ' $page)))
    set -l before (count (string match -r '^-' -- $words))
    test (math $number - $before) -ge $argv[2]
end

function __procmem_subjects
    __procmem_pids
    __procmem_names
    printf 'self\tthis command\n'
    __fish_complete_path
end

function __procmem_pids
    for pid in (string replace -rf '^/proc/(\d+)/comm$' '$1' /proc/*/comm)
        set -l name
        test -r /proc/$pid/comm; and read name </proc/$pid/comm 2>/dev/null
        printf '%%s\t%%s\n' $pid "$name"
    end
end

function __procmem_names
    for pid in (string replace -rf '^/proc/(\d+)/comm$' '$1' /proc/*/comm)
        set -l name
        test -r /proc/$pid/comm; and read name </proc/$pid/comm 2>/dev/null
        string match -qr '^[A-Za-z0-9_.+][A-Za-z0-9_.+-]*$' -- "$name"
        and printf '%%s\tprocess\n' $name
    end | sort -u
end

for program in procmem procmem-live
    complete -c $program -f
%(lines)s
end
"""

FISH_KINDS = {
    "pid": "(__procmem_subjects)",
    "name": "(__procmem_names)",
    "user": "(__fish_complete_users)",
    "command": "(__fish_complete_command)",
    "group": "(__fish_complete_directories)",
    "dir": "(__fish_complete_directories)",
    "file": "(__fish_complete_path)",
}


def fish_completion(pages: Sequence[CommandPage], labs: Sequence[str]) -> str:
    """The script for fish 3.0 or newer; arguments as of bash_completion()."""
    lines = [
        f"complete -c $program -n __fish_use_subcommand -a {page.name} -d {fish_text(page.summary)}"
        for page in pages
    ]
    lines += [
        f"complete -c $program -n __fish_use_subcommand -l {word}" for word in ("help", "version")
    ]
    for page in every_page(pages):
        when = f"-n {fish_text(f'__procmem_is {page.name}')}"
        for option in page.options:
            lines.append(fish_option(option, when, labs))
        for number, one in operand_rows(page):
            if words := fish_offer(one, labs):
                at = f"-n {fish_text(f'__procmem_at {fish_text(page.name)} {number}')}"
                lines.append(f"complete -c $program {at} -a {fish_text(words)}")
    parts = {
        "below": " ".join(fish_text(one.name) for page in pages for one in page.below) or "''",
        "lines": "\n".join(f"    {line}" for line in lines),
    }
    return FISH % parts


def fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_offer(one: ManualOption | Operand, labs: Sequence[str]) -> str:
    words = list(one.choices)
    if one.completes == "lab":
        words += [*labs, FISH_KINDS["dir"]]
    elif one.completes:
        words.append(FISH_KINDS[one.completes])
    return " ".join(words)


def fish_option(option: ManualOption, when: str, labs: Sequence[str]) -> str:
    names = " ".join(
        f"-l {flag[2:]}"
        if flag.startswith("--")
        else f"-{'s' if len(flag) == 2 else 'o'} {flag[1:]}"
        for flag in option.flags
    )
    line = f"complete -c $program {when} {names} -d {fish_text(first_sentence(option.help))}"
    if option.metavar:
        line += " -x"
        if words := fish_offer(option, labs):
            line += f" -a {fish_text(words)}"
    return line


SHELLS: Mapping[str, Callable[[Sequence[CommandPage], Sequence[str]], str]] = {
    "bash": bash_completion,
    "zsh": zsh_completion,
    "fish": fish_completion,
}
