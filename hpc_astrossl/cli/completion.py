"""``astrossl completion``: what bash, zsh and fish need to complete verbs and options, made from the command line."""

import argparse
from argparse import Namespace

SHELLS = ("bash", "zsh", "fish")
_BASH = """# astrossl: put this into ~/.bashrc:  source <(astrossl completion bash)
_astrossl() {{
    local verb=${{COMP_WORDS[1]}} word=${{COMP_WORDS[COMP_CWORD]}}
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    local options=""
    case $verb in
{cases}
    esac
    COMPREPLY=($(compgen -W "$options" -- "$word") $(compgen -f -- "$word"))
}}
complete -o filenames -F _astrossl astrossl
"""
_ZSH = """# astrossl: put this into ~/.zshrc:  source <(astrossl completion zsh)
autoload -U +X bashcompinit && bashcompinit
"""


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "completion",
        about="print what a shell needs to complete astrossl's verbs and options",
        example="source <(astrossl completion bash)      # fish: astrossl completion fish | source",
        handler=tell,
    )
    verb.add_argument("shell", choices=SHELLS)


def tell(arguments: Namespace) -> None:
    """Print the script."""
    from hpc_astrossl.cli import parser

    words = _words(parser())
    print(_fish(words) if arguments.shell == "fish" else (_ZSH if arguments.shell == "zsh" else "") + _bash(words))


def _words(top: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Verb -> its sub-verbs, choices and options."""
    (action,) = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return {name: sorted(set(_of(verb))) for name, verb in action.choices.items()}


def _of(verb: argparse.ArgumentParser):
    for action in verb._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name
                yield from _of(below)
        elif action.choices and not action.option_strings:
            yield from map(str, action.choices)


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'        {verb}) options="{" ".join(options)}" ;;' for verb, options in words.items())
    return _BASH.format(verbs=" ".join(words), cases=cases)


def _fish(words: dict[str, list[str]]) -> str:
    lines = ["# astrossl: put this into ~/.config/fish/config.fish:  astrossl completion fish | source"]
    lines += [f"complete -c astrossl -n __fish_use_subcommand -a {verb}" for verb in words]
    for verb, options in words.items():
        seen = f"-n '__fish_seen_subcommand_from {verb}'"
        for option in options:
            what = f"-l {option[2:]}" if option.startswith("--") else f"-a {option}"
            lines.append(f"complete -c astrossl {seen} {what}")
    return "\n".join(lines) + "\n"
