"""Nothing lost, nothing twice: workers on a real Kafka and a real Redis while everything around them fails.

    python -m load_tests.chaos                                         seed 1, 1,000,000 events, 40 faults: 8 min
    python -m load_tests.chaos --events 60000 --faults 13 --seeds 7    a short one
    python -m load_tests.chaos --kinds 'redis*,worker SIGKILL'         only faults of these kinds
    python -m load_tests.chaos --kinds 'model stops*,baseline *'       a model stops; a baseline is exchanged
    python -m load_tests.chaos --topology cluster                      one, brokers, sentinel, cluster: the servers
    python -m load_tests.chaos --labels topic                          the labels of some models come by themselves
    python -m load_tests.chaos --seeds 1-20 --out chaos.jsonl          many; runs that the file holds are skipped

Three workers, 8 partitions, 30 models, six producers. On a schedule that the seed decides, workers are killed, stopped,
added, removed, paused beyond their session (and resumed when others own their partitions) and cut off from Kafka or
Redis; Redis and Kafka are killed, paused and taken away; they refuse what is written, as when their memory or disk is
full; Redis loses unsynced writes, as in a power cut; connections are cut and delayed. Some faults begin two at a time.
Besides, models stop for days of event time and start again, a partition gets nothing, a producer's clock is wrong, a
version is rolled out, and baselines are exchanged. The table of their kinds is `load_tests/chaos/kinds.py`. Workers
that end by themselves are started again. Afterwards, the state of every model and every alert must be those of a replay
of the same topic in one process: `load_tests/chaos/verdict.py`.

Exit code 1 if not. Redis syncs its append-only file always with odd seeds, every second with even ones (--fsync).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from load_tests.chaos.kinds import chosen, matching
from load_tests.chaos.run import run
from load_tests.chaos.schedule import TOPOLOGIES, Fsync, schedule


def _table(results: Sequence[dict[str, Any]]) -> Table:
    """All runs, one in each column."""
    table = Table(title="chaos: model states and alerts, compared with a replay of the topic")
    table.add_column("")
    for _ in results:
        table.add_column(justify="right")
    for name in dict.fromkeys(chain.from_iterable(results)):
        if name not in ("wrongs", "kinds"):
            table.add_row(name, *(_cell(each.get(name)) for each in results))
    for kind in sorted(set(chain.from_iterable(each["kinds"] for each in results))):
        table.add_row(kind, *(_kind_cell(each["kinds"].get(kind, {})) for each in results))
    table.caption = "kinds of faults: how often; seconds to recover, p50 and max"
    return table


def _kind_cell(found: Mapping[str, float]) -> str:
    spread = f"; {found['p50']}, {found['max']}" if "p50" in found else ""
    return f"{found['times']}{spread}" if found else ""


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:,}" if isinstance(value, int | float) else str(value or "")


def _seeds(text: str) -> list[int]:
    """Seeds from text: 1, 1,3 or 1-20."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _earlier(path: Path | None, given: argparse.Namespace) -> dict[int, dict[str, Any]]:
    """The results of equal runs with the same events, faults, kinds and topology that the file holds, by seed."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    results = [json.loads(line) for line in lines]
    return {
        each["seed"]: each
        for each in results
        if each["equal"]
        and (each["messages"], each["faults"]) == (given.events, given.faults)
        and (each["topology"], each["chosen"]) == (given.topology, ",".join(given.kinds))
        and each.get("labels", "event") == given.labels
    }


def _patterns(text: str) -> list[str]:
    """Patterns of kinds from text, separated by commas."""
    patterns = text.split(",")
    try:
        matching(patterns)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return patterns


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=_seeds, default=[1], help="one or many: 1, 1,3 or 1-20 (default 1)")
    parser.add_argument("--events", type=int, default=1_000_000, help="messages appended (default 1,000,000)")
    parser.add_argument("--faults", type=int, default=40, help="faults (default 40; kinds come in turn)")
    parser.add_argument("--kinds", type=_patterns, default=["*"], help="patterns of kinds, as 'redis*,worker *'")
    parser.add_argument("--topology", choices=TOPOLOGIES, default="one", help="the servers (default one of each)")
    parser.add_argument("--labels", choices=["event", "topic"], default="event", help="where they come from (event)")
    parser.add_argument("--fsync", choices=["always", "everysec"], help="how Redis syncs (default: as the seed says)")
    parser.add_argument("--out", type=Path, help="append one line of JSON for each run; runs that it holds are skipped")
    parser.add_argument("--keep", type=Path, help="keep the servers' logs and files in this folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def main() -> int:
    """Parse arguments, run, print; 1 if anything was lost, doubled or changed."""
    given, console = _arguments(), Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which stops the workers and servers on the way
    earlier = _earlier(given.out, given)
    results = []
    for seed in given.seeds:
        if seed in earlier:
            results.append(earlier[seed])
            continue
        fsync: Fsync = given.fsync or ("always" if seed % 2 else "everysec")
        with ExitStack() as stack:
            directory = given.keep and given.keep / f"seed-{seed}"
            directory = directory or Path(stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)))
            directory.mkdir(parents=True, exist_ok=True)
            labels = given.labels == "topic"
            kinds = chosen(given.kinds, given.topology, fsync, labels)
            plan = schedule(seed, given.faults, kinds)
            result = run(seed, given.events, plan, given.topology, fsync, directory, console, labels)
            results.append(result | {"chosen": ",".join(given.kinds)})
        if given.out:
            with given.out.open("a") as out:
                out.write(json.dumps(results[-1]) + "\n")
        for mismatch in results[-1]["wrongs"]:
            console.print(f"seed {seed}: {mismatch}", markup=False, style="red")
    print(json.dumps(results, indent=1)) if given.json else Console().print(_table(results))
    return 0 if all(each["equal"] for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
