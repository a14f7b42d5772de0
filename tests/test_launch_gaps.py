"""What is pure of launch/gaps.py and launch/queue.py; test_slurm_tasks.py holds them against a real Slurm."""

import signal

import pytest

from hpc_astrossl.launch import gaps, queue


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_arrays_are_complete_disjoint_and_no_larger_than_the_limit(limit):
    works = list(range(7))
    made = list(gaps.arrays(works, limit))
    assert [work for array in made for work in array] == works
    assert all(1 <= len(array) <= limit for array in made)


@pytest.mark.parametrize(
    ("ran", "limit_minutes", "delay", "is_limit"),
    [
        (59 * 60, 60, 120, True),
        (57 * 60, 60, 120, True),  # up to a minute early, after a minute of starting
        (40 * 60, 60, 120, False),  # a preemption
        (46 * 60, 60, 900, True),  # submitit alone takes this for a preemption, and requeues without end
        (3 * 60, 9, 60, False),  # submitit alone takes every signal of a job below ten minutes for its time limit
        (7 * 60, 9, 60, True),
    ],
)
def test_a_time_limit_is_told_from_a_preemption(monkeypatch, ran, limit_minutes, delay, is_limit):
    monkeypatch.setenv(gaps.DELAY, str(delay))
    assert gaps.timed_out(ran, limit_minutes * 60) is is_limit


def test_a_signal_that_comes_twice_is_heard_once():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    try:
        gaps.once(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


@pytest.mark.parametrize(
    ("text", "whole"),
    [("infinite", None), ("30:00", 30), ("2:00:00", 120), ("1-00:00:00", 1440), ("2-12:30:00", 3630), ("n/a", None)],
)
def test_durations_of_slurm(text, whole):
    assert queue.minutes(text) == whole


def test_without_a_slurm_client_only_the_cluster_file_limits_arrays(monkeypatch, tmp_path):
    from hpc_astrossl.launch.plan import Plan
    from hpc_astrossl.specs.cluster import ClusterSpec

    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.array_limit(ClusterSpec(kind="slurm", max_array=50)) == 50
    queue.check_site(Plan(experiment="e", stages=()), ClusterSpec(kind="slurm", partition="any"))
    assert queue.final({"7": None}) == {}
