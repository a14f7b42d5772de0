"""What operators do to jobs and nodes of a real Slurm while a study is in the queue: hold, send back, drain."""

import re

import pytest
from slurm_toys import LONG, SHORT, result, row, same, starts, submit, trains

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
AMPLE = {"resources": {"all": {"minutes": 60}}}  # no time limit comes between, however slow this machine is


@pytest.mark.parametrize(("verb", "reason"), [("hold", "JobHeld(Admin|User)"), ("uhold", "JobHeldUser")])
def test_a_job_that_somebody_holds_is_queued_and_not_sent_again(slurm, workdir, verb, reason):
    slurm.ask("scontrol", "update", "partitionname=debug", "state=down")  # so that it waits until it is held
    try:
        job = submit(slurm, workdir, SHORT)
        slurm.ask("scontrol", verb, job)
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    told = row(slurm, workdir)
    assert told["state"] == "queued"
    assert re.fullmatch(f"Slurm: {reason}", told["reason"])
    again = slurm.astrossl("submit", "toys.yaml", "--cluster", "site.yaml", cwd=workdir)
    assert "0 done, 1 queued or running, 0 to submit" in again.stdout
    slurm.ask("scontrol", "release", job)
    slurm.settle()
    assert row(slurm, workdir)["state"] == "done"


@pytest.mark.parametrize("how", [[], ["State=SpecialExit"]], ids=["held", "special exit"])
def test_a_running_job_that_an_operator_sends_back_goes_on_when_it_is_released(slurm, workdir, how, undisturbed):
    job = submit(slurm, workdir, LONG, **AMPLE)
    trains(slurm, workdir)
    slurm.ask("scontrol", "requeuehold", *how, job)
    slurm.wait(lambda: slurm.jobs()[job] in ("PENDING", "SPECIAL_EXIT", "REQUEUE_HOLD"), 60, "it is held")
    told = row(slurm, workdir)
    assert told["state"] == "queued"
    assert told["reason"].startswith("Slurm: ")
    again = slurm.astrossl("submit", "toys.yaml", "--cluster", "site.yaml", cwd=workdir)
    assert "0 done, 1 queued or running, 0 to submit" in again.stdout
    slurm.ask("scontrol", "release", job)
    slurm.settle()
    assert row(slurm, workdir)["state"] == "done"
    assert same(result(workdir), undisturbed)
    assert starts(workdir) == 2


def test_a_node_that_is_drained_under_a_run_lets_it_end(slurm, workdir, undisturbed):
    job = submit(slurm, workdir, LONG, **AMPLE)
    trains(slurm, workdir)
    node = slurm.ask("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=disk")
    try:
        slurm.settle()
        assert row(slurm, workdir)["state"] == "done"
        assert same(result(workdir), undisturbed)
        assert starts(workdir) == 1
    finally:
        slurm.ask("scontrol", "update", f"nodename={node}", "state=resume")
