"""Stored frames that several threads are the first to read, as they are when a worker takes over its models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from driftline.stream.codec.state import state_delta
from tests.harness.histories import history

# Restores states in eight threads at once, in an interpreter that has read none before and that changes between threads
# as often as it can. Each round restores a state that holds other kinds of parts.
PROGRAM = """
import json, sys, threading
from driftline.stream.codec.state import restore_state
sys.setswitchinterval(1e-6)
start, restored = threading.Barrier(8), []
def restore(parts):
    start.wait()
    restored.append(restore_state(parts, None))
for state in json.loads(open(sys.argv[1]).read()):
    parts = {name: bytes.fromhex(part) for name, part in state.items()}
    threads = [threading.Thread(target=restore, args=[parts]) for _ in range(8)]
    for each in threads: each.start()
    for each in threads: each.join()
print(len(restored))
"""
# Interpreters: with decoders that are made at the first use, 4 in 10 of them die by SIGSEGV.
TRIES = 8


def test_threads_that_read_the_first_states_at_once_restore_them(tmp_path: Path) -> None:
    stored = [state_delta(None, state).write for state in history(learned=True).states]
    warming, judging = ([each for each in stored if name in each] for name in ("events:0", "incidents"))
    states = tmp_path / "states.json"
    states.write_text(
        json.dumps([{name: part.hex() for name, part in each[-1].items()} for each in (judging, warming)])
    )
    runs = [
        subprocess.run([sys.executable, "-c", PROGRAM, states], capture_output=True, text=True) for _ in range(TRIES)
    ]
    assert [(each.returncode, each.stdout, each.stderr) for each in runs] == [(0, "16\n", "")] * TRIES
