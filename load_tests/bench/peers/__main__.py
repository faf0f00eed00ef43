"""Delays and false pages of Driftline beside other detectors and the optimum, on the same values.

    nice python -m load_tests.bench.peers                        12 runs of each drift: some 15 minutes
    nice python -m load_tests.bench.peers --runs 4 --drifts mean --json
    nice python -m load_tests.bench.peers --peers-python peers/bin/python    with those of `elsewhere.py`
    nice python -m load_tests.bench.peers --plot docs/images                 both pictures of docs/DETECTION.md
    nice python -m load_tests.bench.peers --curves --plot docs/images     delay against the rate: some 10 minutes
    nice python -m load_tests.bench.peers --figures peers.json --plot docs/images    of what --json has printed
    nice python -m load_tests.bench.peers --quick                Driftline and ADWIN on three drifts: a minute

A model has 20 signals of independent normal values, of which one drifts. Driftline is its whole judge: a baseline of
20,000 events, panes of 250 or 50, one false page in 100,000 events allowed. A peer watches the one signal alone, at
its default and at the most sensitive setting that raises no more alarms than a 20th of that on quiet values
(`of_river.py`). The optimum is a CUSUM of the true likelihood ratio at the same rate, which takes knowing the drift.
EDetector watches the ranks of the one signal in the baseline at that rate, which it proves instead of measuring.

Then all of them watch traffic without a drift: independent, dependent, sessions and a day. Slow peers get fewer values:
10,000 of those, and 3,000 after a drift. "always" is an alarm at each value, "never" is none.

Exit code 1: Driftline takes more than four times the optimum and a pane, or for spikes than `drifts.py` says, or
raises more false pages than promised (Poisson, p < 0.001).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from load_tests.bench.absence import above
from load_tests.bench.detection import MODEL, RATE
from load_tests.bench.peers.cases import PER_VALUE, Peer, middle
from load_tests.bench.peers.curves import CURVES, curves
from load_tests.bench.peers.drifts import DRIFTS, optimum
from load_tests.bench.peers.elsewhere import encode
from load_tests.bench.peers.model import EDETECTOR, PANES, TRAFFIC, Model, drifting, quiet
from load_tests.bench.peers.of_river import peers
from load_tests.bench.peers.plots import plot

_INSTALLED = "from importlib.metadata import version; version('frouros'), version('alibi-detect')"
Figures = dict[str, Any]
Row = dict[str, float | None]
_ROOT = Path(__file__).parents[3]
# As many times the optimum that Driftline may take, beside a pane.
_SLOWEST = 4
# What `--quick` does: drifts, runs of each, kinds of traffic without one, and its events.
_QUICK = (("mean 0.5 σ", "spread × 1.2", "5 % at one value"), 2, ("nothing",), 20_000)


def delays(drift: str, seed: int, others: Sequence[Peer]) -> Row:
    """Values from a drift until each detector's first alarm after it; None if there is none."""
    model = drifting(drift, seed)
    return {
        "always": 1,
        "never": None,
        "optimum": optimum(drift, model.case.values[model.at :], PER_VALUE),
        **{f"Driftline, panes of {pane}": model.delay(pane) for pane in PANES},
        **{peer.name: peer.figure(model.case) for peer in others},
    }


def alarms(model: Model, others: Sequence[Peer]) -> Row:
    """Alarms in a million values of a signal without a drift."""
    watched = (len(model.case.values) - model.known) * MODEL / 1e6
    found = {f"Driftline, panes of {PANES[0]}": model.false_pages(PANES[0]) / watched}
    return {"always": 1e6, "never": 0, **found, **{peer.name: peer.figure(model.case) for peer in others}}


def measured(
    drifts: Sequence[str], runs: int, kinds: Sequence[str], events: int, others: Sequence[Peer], elsewhere: Path | None
) -> Figures:
    """Delays, alarms, and the processor time that a value takes each detector, in µs. elsewhere: a Python, if any."""
    asked = [(drift, seed) for drift in drifts for seed in range(runs)]
    with ThreadPoolExecutor(1) as beside:
        answer = beside.submit(_elsewhere, elsewhere, asked, kinds, events) if elsewhere else None
        slow: dict[str, list[Row]] = {drift: [] for drift in drifts}
        for drift, seed in asked:
            slow[drift].append(delays(drift, seed, others))
            print(f"{drift}, run {seed + 1} of {runs}: {slow[drift][-1]}", file=sys.stderr, flush=True)
        found = dict[str, Row]()
        for kind in kinds:
            found[kind] = alarms(quiet(kind, events), others)
            print(f"{kind}: {found[kind]}", file=sys.stderr, flush=True)
        cost, looser = {peer.name: peer.cost() for peer in others}, [peer.name for peer in others if peer.is_looser]
        figures: Figures = {"events": events, "delays": slow, "alarms": found, "cost": cost, "looser": looser}
        return _joined(figures, answer) if answer else figures


def _elsewhere(python: Path, asked: Sequence[tuple[str, int]], kinds: Sequence[str], events: int) -> dict[str, Any]:
    cases = [drifting(*each).case for each in asked] + [quiet(kind, events).case for kind in kinds]
    command = [str(python), "-m", "load_tests.bench.peers.elsewhere"]
    answer = subprocess.run(command, input=encode(cases), stdout=subprocess.PIPE, cwd=_ROOT, check=True)
    return dict(json.loads(answer.stdout))


def _joined(figures: Figures, answer: Future[dict[str, Any]]) -> Figures:
    """With what the other libraries say of the same cases, in their order."""
    found = answer.result()
    rows = [row for runs in figures["delays"].values() for row in runs] + list(figures["alarms"].values())
    for name, peer in found["peers"].items():
        figures["cost"][name] = peer["cost"]
        if peer["is_looser"]:
            figures["looser"].append(name)
        for row, figure in zip(rows, peer["figures"], strict=True):
            row[name] = figure
    return {**figures, "versions": found["versions"]}


def faults(figures: Figures) -> Iterator[str]:
    """Where Driftline is slower, or pages more often, than it may."""
    own = f"Driftline, panes of {PANES[0]}"
    for drift, runs in figures["delays"].items():
        least = DRIFTS[drift].within or _SLOWEST * middle([row["optimum"] for row in runs]) + PANES[0]
        if (took := middle([row[own] for row in runs])) > least:
            yield f"{drift}: {took:,.0f} events, more than {least:,.0f}"
    pages = round(sum(row[own] for row in figures["alarms"].values()) * figures["events"] * MODEL / 1e6)
    promised = figures["events"] * RATE * len(figures["alarms"])
    if pages and above(pages, promised) < 0.001:
        yield f"{pages} false pages where {promised:.1f} are promised"


def median(delays: Sequence[float | None]) -> str:
    """The median of delays, and how many are missed."""
    missed = sum(each is None for each in delays)
    if missed == len(delays):
        return "–"
    found = middle(delays)
    return ("–" if math.isinf(found) else f"{found:,.0f}") + (f" ({missed} missed)" if missed else "")


def show(figures: Figures) -> None:
    """Print tables, a row for each detector."""
    slow = {
        drift: {name: median([row[name] for row in runs]) for name in runs[0]}
        for drift, runs in figures["delays"].items()
    }
    often = {
        kind: {name: f"{count:,.{int(count < 100)}f}" for name, count in row.items()}
        for kind, row in figures["alarms"].items()
    }
    by_rate = {
        drift: {
            name: ", ".join(f"{delay:,.0f} at {rate:,.3g}" for rate, delay in points) for name, points in own.items()
        }
        for drift, own in figures.get("curves", {}).items()
    }
    _print("values from the drift to an alarm, median", slow)
    _print(f"alarms in a million values without a drift; promised: {PER_VALUE * 1e6:g}", often)
    _print("delay by false pages in a million events", by_rate)
    cost = {name: f"{each:,.2g}" for name, each in figures["cost"].items()}
    _print("processor time", {"µs a value": cost} if cost else {})


def _print(title: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    if columns:
        table = Table("", *columns, title=title)
        for name in next(iter(columns.values())):
            table.add_row(name, *(column[name] for column in columns.values()))
        Console(width=180).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="runs of each drift, each of another seed (default 12)")
    parser.add_argument("--drifts", nargs="*", default=[""], help="beginnings of names; a name of none: no delays")
    parser.add_argument(
        "--quiet-events", type=int, default=200_000, help="events of each kind without a drift; 0: no false pages"
    )
    parser.add_argument("--peers-python", type=Path, metavar="PATH", help="a Python that has Frouros and alibi-detect")
    parser.add_argument("--quick", action="store_true", help="two runs of three drifts, and 20,000 quiet events")
    parser.add_argument("--curves", action="store_true", help="nothing but the delays at other rates")
    parser.add_argument("--figures", type=Path, metavar="JSON", help="these instead of measuring")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="save delays.png and delay-by-rate.png there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    if given.plot and (given.quick or given.drifts != [""]):
        parser.error("--plot draws all drifts: leave out --quick and --drifts")
    if given.peers_python and subprocess.run([given.peers_python, "-c", _INSTALLED], check=False).returncode:
        parser.error(f"--peers-python {given.peers_python}: no Frouros or no alibi-detect there; elsewhere.py says how")
    return given


def main() -> int:
    """Parse arguments, measure, print."""
    given = _arguments()
    figures = json.loads(given.figures.read_bytes()) if given.figures else _measured(given)
    if given.plot:
        plot(figures, given.plot)
    if given.json:
        print(json.dumps(figures))
    else:
        show(figures)
    found = list(faults(figures))
    print(*found, sep="\n", file=sys.stderr)
    return int(bool(found))


def _measured(given: argparse.Namespace) -> Figures:
    if given.quick:
        return measured(*_QUICK, peers("ADWIN"), None)
    if given.curves:
        return {**measured((), 0, (), 0, (), None), "curves": curves(CURVES, given.runs)}
    drifts = [each for each in DRIFTS if each.startswith(tuple(given.drifts))]
    kinds, others = list(TRAFFIC) if given.quiet_events else [], [*peers(), EDETECTOR]
    figures = measured(drifts, given.runs, kinds, given.quiet_events, others, given.peers_python)
    return {**figures, "curves": curves([each for each in CURVES if each in drifts], given.runs)}


if __name__ == "__main__":
    sys.exit(main())
