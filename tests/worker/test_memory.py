"""What a worker's process keeps of memory that it has freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Threads that allocate in small pieces at the same time; then it prints how many arenas there are beside the first:
# each begins at a multiple of 64 MiB, and reserves what follows up to the next one.
_SCRIPT = """
import threading
SIZE = 64 << 20
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
lines = [line.split() for line in open("/proc/self/maps")]
maps = [(*(int(each, 16) for each in line[0].split("-")), line[1]) for line in lines]
print(
    sum(
        (used, reserved) == ("rw-p", "---p") and begin % SIZE == 0 and end == begin + SIZE
        for (begin, _, used), (_, end, reserved) in zip(maps, maps[1:])
    )
)
"""


def arenas(call: str) -> int:
    code = _SCRIPT.format(call=call)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_all_threads_share_one_arena() -> None:
    assert arenas("") > 0
    assert arenas("give_memory_back()") == 0
