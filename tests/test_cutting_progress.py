"""What is said while objects are cut: on a terminal, in a log, and where nobody listens."""

import io

from hpc_astrossl.cutting.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream, steps, total=3000) -> str:
    """What a stream gets when so many objects are done at such seconds."""
    now = [0.0]
    progress = Progress(stream, clock=lambda: now[0])
    progress.begin(total)
    for seconds, done in steps:
        now[0] = seconds
        progress.update(done)
    progress.say("finishing")
    return stream.getvalue()


def test_a_log_gets_a_line_a_minute():
    text = told(io.StringIO(), [(second, second * 10) for second in range(1, 131)])
    assert text.splitlines() == [
        "600 of 3,000 objects (20 %), 10 a second, 4 min 00 s left",
        "1,200 of 3,000 objects (40 %), 10 a second, 3 min 00 s left",
        "finishing",
    ]


def test_a_terminal_gets_a_line_that_renews_itself():
    text = told(Terminal(), [(0.1, 1), (1, 0), (2, 1500), (2.1, 1501), (4, 3000)])
    assert text.split("\r\033[K")[1:] == [
        "0 of 3,000 objects (0 %), 0 a second, time left unknown",
        "1,500 of 3,000 objects (50 %), 750 a second, 2 s left",
        "3,000 of 3,000 objects (100 %), 750 a second, 0 s left",
        "finishing\n",
    ]


def test_hours_are_told_as_such():
    assert "1 h 23 min left" in told(Terminal(), [(10, 10)], total=5000)


def test_without_a_stream_nothing_is_said(capsys):
    now = [0.0]
    progress = Progress(clock=lambda: now[0])
    progress.begin(10)
    now[0] = 100.0  # a log would have had its line by now
    progress.update(10)
    progress.say("done")
    assert capsys.readouterr() == ("", "")
