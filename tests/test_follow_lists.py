"""status without a name lists experiments; logs print a run's words once."""

import json

from run_folders import spec, write_plan, write_run

from hpc_astrossl.cli import main
from hpc_astrossl.cli.follow import _logs


def test_status_without_a_name_lists_the_experiments(tmp_path, capsys):
    assert main(["status", "--workdir", str(tmp_path)]) == 0
    assert "no experiment in" in capsys.readouterr().out
    write_run(tmp_path / "runs/study", spec())
    write_plan(tmp_path / "runs/study", [spec(), spec(seed=1)])
    write_run(tmp_path / "runs/alone", spec())
    assert main(["status", "--workdir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"experiment": "alone", "done": 1, "planned": None},
        {"experiment": "study", "done": 1, "planned": 2},
    ]
    assert main(["status", "--workdir", str(tmp_path)]) == 0
    assert "study" in capsys.readouterr().out


def test_logs_are_printed_once(tmp_path, capsys, monkeypatch):
    run, task = tmp_path / "log", tmp_path / "task.log"
    run.write_text("epoch 1\nepoch 2\n")
    task.write_text("on node 7\nepoch 1\nepoch 2\n")
    monkeypatch.setattr("hpc_astrossl.launch.logs.find", lambda name, workdir: [run, task])
    _logs(type("Arguments", (), {"run": "r", "workdir": tmp_path, "lines": 40}))
    said = capsys.readouterr().out
    assert said.count("epoch 1") == 1
    assert "on node 7" in said
    task.write_text(run.read_text())
    _logs(type("Arguments", (), {"run": "r", "workdir": tmp_path, "lines": 40}))
    assert capsys.readouterr().out.count("epoch 1") == 1
