"""What a worker's process keeps of memory that it has freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Threads that allocate in small pieces at the same time; then it prints how many arenas there are beside the first:
# each begins at a multiple of 64 MiB.
_SCRIPT = """
import threading
from driftline.stream.ops.memory import give_memory_back
{call}
barrier = threading.Barrier(4)
def work():
    barrier.wait()
    kept = [bytes(2000) for _ in range(1000)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
begins = [int(line.split("-")[0], 16) for line in open("/proc/self/maps") if " rw-p 00000000 00:00 0" in line]
print(sum(begin % (64 << 20) == 0 for begin in begins))
"""


def arenas(call: str) -> int:
    code = _SCRIPT.format(call=call)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_all_threads_share_one_arena() -> None:
    assert arenas("") > 0
    assert arenas("give_memory_back()") == 0
