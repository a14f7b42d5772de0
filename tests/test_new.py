"""Files to start from, and shells that complete: all of them are what the program takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hpc_astrossl import config
from hpc_astrossl.cli import main
from hpc_astrossl.cli.new import FILES, kinds
from hpc_astrossl.specs import reference

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("file", "kind"), [(file, kind) for file in FILES for kind in kinds(file)])
def test_every_file_to_start_from_is_taken_and_has_its_keys_explained(tmp_path, capsys, file, kind):
    out = tmp_path / "mine.yaml"
    assert main(["new", file, kind, "--out", str(out)]) == 0
    config.load(out, reference.KINDS[file])
    text = out.read_text()
    assert text.count("#") > text.count("\n") / 3
    assert f"astrossl {'preprocess' if file == 'recipe' else 'submit' if file == 'jobs' else 'train'} {out}" in text
    assert str(out) in capsys.readouterr().out.splitlines()[-1]
    assert main(["new", file, kind, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_unknown_kind_names_the_others(capsys):
    assert main(["new", "recipe", "folder"]) == 2
    assert "allowed: array, cutouts, fields, files, folders; did you mean" in capsys.readouterr().err


def test_the_recipe_of_image_files_makes_a_store_of_the_bundled_galaxies_as_it_is(tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    assert main(["new", "recipe", "files", "--out", str(out)]) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()[1:]
    command[command.index("--out") + 1] = str(tmp_path / "stores")
    assert main([*command, "--set", "size=16"]) == 0
    assert "galaxies: kept " in capsys.readouterr().out


SHELLS = {
    "bash": 'source "$0"; COMP_WORDS=(astrossl preprocess --o); COMP_CWORD=2; _astrossl; echo "${COMPREPLY[@]}"',
    "zsh": 'autoload -U compinit; compinit -u; source "$0"; whence -w _astrossl',
    "fish": 'source $argv[1]; complete -C "astrossl preprocess --o"',
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_take_what_is_printed_and_complete(tmp_path, capsys, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here; apt-get install {shell}")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run([shell, "-c", SHELLS[shell], script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"bash": "--out", "zsh": "_astrossl: function", "fish": "--out"}[shell] in done.stdout
