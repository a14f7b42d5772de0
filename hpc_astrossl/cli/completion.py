"""``astrossl completion``: what bash, zsh and fish need to complete the command line, made from the command line.

What may follow is told by a table, ``contexts``: a line for each verb, and one for each first word of those verbs that
have several ("help recipe"). Each shell has its own few lines around it.
"""

import argparse
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
# What a word may be, beside words of a list: folders of runs/, runs in them, clusters (names or files), or what cannot
# be known.
FILES, FOLDERS, EXPERIMENTS, RUNS, CLUSTERS, UNKNOWN = "files", "folders", "experiments", "runs", "clusters", "unknown"
_GLOBS = {EXPERIMENTS: "runs/*/", RUNS: "runs/*/*/", CLUSTERS: "jobs/clusters/*.yaml"}


@dataclass(frozen=True, kw_only=True)
class Value:
    """What a word may be: one of a list, or of a kind; ``joined`` words are followed by more without a space."""

    kind: str = UNKNOWN
    words: tuple[str, ...] = ()
    joined: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """What may follow a verb, or a verb and its first word: options (None: without a value), and other words."""

    value: Value
    options: Mapping[str, Value | None] = field(default_factory=dict)


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "completion",
        about="print what a shell needs to complete verbs, options, files and keys",
        example="source <(astrossl completion bash)      # zsh too; fish: astrossl completion fish | source",
        handler=tell,
    )
    verb.add_argument("shell", choices=SHELLS)


def tell(arguments: Namespace) -> None:
    """Print the script."""
    from hpc_astrossl.cli import parser

    top = parser()
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell]
    print(script(contexts(top), _abouts(top)), end="")


def contexts(top: argparse.ArgumentParser) -> dict[str, Context]:
    """What may follow "VERB", and "VERB WORD" where the word decides."""
    found: dict[str, Context] = {}
    for verb, parser in _below(top).items():
        found[verb] = _context(verb, parser)
        for word, below in _below(parser).items():
            found[f"{verb} {word}"] = _context(verb, below)
        for word, value in _second(verb):
            found[f"{verb} {word}"] = Context(value=value, options=found[verb].options)
    return found


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _abouts(top: argparse.ArgumentParser) -> dict[str, str]:
    (action,) = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return {one.dest: str(one.help) for one in action._choices_actions}


def _second(verb: str) -> Iterator[tuple[str, Value]]:
    """Words of ``help`` and ``new`` that depend on the word before."""
    from hpc_astrossl.cli import help as explain
    from hpc_astrossl.cli import new

    if verb == "help":
        yield from ((kind, Value(words=_keys(kind))) for kind in explain.KINDS)
    if verb == "new":
        yield from ((file, Value(words=tuple(new.kinds(file)))) for file in new.FILES)


def _keys(kind: str) -> tuple[str, ...]:
    from hpc_astrossl.specs import reference

    return tuple(dict.fromkeys(one.path for one in reference.keys(kind)))


def _context(verb: str, parser: argparse.ArgumentParser) -> Context:
    options, first = {}, None
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--"):
                options[option] = None if action.nargs == 0 else _value(verb, action)
        if not action.option_strings and first is None:
            first = _value(verb, action)
    return Context(value=first or Value(), options=options)


def _value(verb: str, action: argparse.Action) -> Value:
    """What an argument may be, from its choices, its type and its name."""
    if action.choices:
        return Value(words=tuple(map(str, action.choices)))
    if action.dest == "set":
        settable = [key for key in _keys("run" if verb == "train" else "recipe") if not re.search(r"\b[A-Z]+\b", key)]
        return Value(words=tuple(f"{key}=" for key in settable), joined=True)
    if action.dest == "cluster":
        return Value(kind=CLUSTERS, words=_clusters())
    if action.metavar == "DIR":
        return Value(kind=FOLDERS)
    if action.dest == "experiment":
        return Value(kind=EXPERIMENTS)
    if action.dest == "run" and action.type is None:
        return Value(kind=RUNS)
    named = str(action.metavar or action.dest)
    return Value(kind=FILES if action.type is Path or named in ("FILE", "JOBS.yaml") else UNKNOWN)


def _clusters() -> tuple[str, ...]:
    """Those that come with the program; those of the working folder are looked for when they are asked for."""
    shipped = (Path(__file__).parents[2] / "jobs/clusters").glob("*.yaml")
    return tuple(sorted({path.stem for path in shipped} | {"local"}))


def _cases(found: Mapping[str, Context]) -> str:
    """The table as bash and zsh read it: sets ``list`` and ``kind`` of the word that is being written."""
    lines = ['    case "$here $before" in']
    for here, context in found.items():
        taken = [(option, value) for option, value in context.options.items() if value]
        lines += [f"        {_quoted(f'{here} {option}')}) {_assigned(value)} ;;" for option, value in taken]
    lines += ["        *)", '            case "$here" in']
    for here, context in found.items():
        options = " ".join(context.options)
        lines.append(f"                {_quoted(here)}) {_assigned(context.value)}; options={_quoted(options)} ;;")
    return "\n".join([*lines, "            esac", "    esac"])


def _quoted(words: str) -> str:
    return f'"{words}"'


def _assigned(value: Value) -> str:
    return f"kind={value.kind}; list={_quoted(' '.join(value.words))}" + ("; joined=1" if value.joined else "")


def _places(found: Mapping[str, Context]) -> str:
    """The verbs of which the next word decides, as a pattern."""
    return "|".join(dict.fromkeys(here.split()[0] for here in found if " " in here))


_BASH = """# astrossl: put this into ~/.bashrc:  source <(astrossl completion bash)
_astrossl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} here=${{COMP_WORDS[1]}}
    local list="" options="" kind=unknown joined="" one
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word"))
        return
    fi
    if [ "$word" = "=" ]; then word=""; elif [ "$before" = "=" ]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    case $here in {places}) [ "$COMP_CWORD" -gt 2 ] && here="$here ${{COMP_WORDS[2]}}" ;; esac
{cases}
    case $word in -*) COMPREPLY=($(compgen -W "$options" -- "$word")); return ;; esac
    case $kind in
{globs}
        folders) compopt -o dirnames +o default; return ;;
    esac
    COMPREPLY=($(compgen -W "$list" -- "$word"))
    [ -z "$joined" ] || compopt -o nospace
    case $kind in files|clusters) ;; *) compopt +o default ;; esac
}}
complete -o default -F _astrossl astrossl
"""
_BASH_GLOB = """        {kind})
            for one in {glob}; do
                [ -e "$one" ] && one=${{one%/}} one=${{one##*/}} && list="$list ${{one%.yaml}}"
            done ;;"""
_ZSH = """# astrossl: put this into ~/.zshrc:  source <(astrossl completion zsh)
_astrossl() {{
    local word=$words[CURRENT] before=$words[CURRENT-1] here=$words[2] list="" options="" kind=unknown joined="" one
    local -a verbs found
    verbs=(
{verbs}
    )
    if (( CURRENT == 2 )); then
        _describe verb verbs
        [[ $word != -* ]] || compadd -- --help --version
        return
    fi
    if [[ $word == --*=* ]]; then before=${{word%%=*}}; word=${{word#*=}}; compset -P '--*='; fi
    case $here in {places}) (( CURRENT > 3 )) && here="$here $words[3]" ;; esac
{cases}
    if [[ $word == -* ]]; then compadd -- ${{=options}}; return; fi
    case $kind in
{globs}
    esac
    found=(${{=list}})
    if [[ -n $joined ]]; then compadd -S '' -- $found; else compadd -- $found; fi
    case $kind in
        folders) _files -/ ;;
        files|clusters) _files ;;
    esac
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i; }}
compdef _astrossl astrossl
"""
_ZSH_GLOB = """        {kind}) for one in {glob}(N); do one=${{one%/}}; list="$list ${{${{one:t}}%.yaml}}"; done ;;"""
_FISH = """# astrossl: put this into ~/.config/fish/config.fish:  astrossl completion fish | source
function __astrossl_at  # the words before the one that is being written: exactly how many, or the first ones
    set -l said (commandline -opc)
    set -l last (count $argv)
    switch $argv[1]
        case first
            test (count $said) = 1
        case after
            test (count $said) -ge $last; and test "$said[2..$last]" = "$argv[2..$last]"
        case next
            test (count $said) = $last; and test "$said[2..$last]" = "$argv[2..$last]"
    end
end
function __astrossl_names
    for one in $argv
        string replace -r '\\.yaml$' '' (basename $one)
    end
end
complete -c astrossl -f
complete -c astrossl -n '__astrossl_at first' -l help
complete -c astrossl -n '__astrossl_at first' -l version
"""


def _bash(found: Mapping[str, Context], abouts: Mapping[str, str]) -> str:
    globs = "\n".join(_BASH_GLOB.format(kind=kind, glob=glob) for kind, glob in _GLOBS.items())
    return _BASH.format(verbs=" ".join(abouts), cases=_cases(found), places=_places(found), globs=globs)


def _zsh(found: Mapping[str, Context], abouts: Mapping[str, str]) -> str:
    globs = "\n".join(_ZSH_GLOB.format(kind=kind, glob=glob) for kind, glob in _GLOBS.items())
    verbs = "\n".join(f"        {_single(f'{verb}:{about}')}" for verb, about in abouts.items())
    return _ZSH.format(verbs=verbs, cases=_cases(found), places=_places(found), globs=globs)


def _fish(found: Mapping[str, Context], abouts: Mapping[str, str]) -> str:
    lines = [f"complete -c astrossl -n '__astrossl_at first' -a {verb} -d {_single(about, fish=True)}"
             for verb, about in abouts.items()]  # fmt: skip
    split = set(_places(found).split("|"))
    for here, context in found.items():
        deciding = here in split
        for option, value in context.options.items():
            what = _fish_value(value) if value else ""
            lines.append(f"complete -c astrossl -n '__astrossl_at after {here}' -l {option[2:]}{what}")
        when = "next" if deciding else "after"
        if words := _fish_words(context.value):
            lines.append(f"complete -c astrossl -n '__astrossl_at {when} {here}'{words}")
    return _FISH + "\n".join(lines) + "\n"


def _fish_value(value: Value) -> str:
    """The value of an option: needed, and of these words or files."""
    return f" -r{_fish_words(value) or ' -f'}"


def _fish_words(value: Value) -> str:
    listed = " ".join(value.words)
    if value.kind in _GLOBS:
        listed = f"{listed} (__astrossl_names {_GLOBS[value.kind]})".strip()
    if value.kind == FOLDERS:
        listed = "(__fish_complete_directories (commandline -ct))"
    files = " -F" if value.kind in (FILES, CLUSTERS) else ""
    return files + (f" -a {_single(listed, fish=True)}" if listed else "")


def _single(words: str, *, fish: bool = False) -> str:
    """Words in single quotes."""
    return "'" + (words.replace("\\", "\\\\").replace("'", "\\'") if fish else words.replace("'", "'\\''")) + "'"
