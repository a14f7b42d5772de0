"""One thread a process: tests start many, and threads that wait for one another on few cores take ten times as long."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
