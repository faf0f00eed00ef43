"""Events until a change of the values of a text is found, with groups of the rare ones and without.

    nice python -m load_tests.bench.rare                                    the whole table: some ten minutes
    nice python -m load_tests.bench.rare --rows 10000 --cases 0.03 --seeds 3
    nice python -m load_tests.bench.rare --rows 20000 --values 10 100 --cases half gone moved     values that are known

A model of 20 texts by Zipf's law (exponent 0.9); its first events are the baseline, in format 2, without groups, or in
3, with them. From the first event after it on, the first text is changed: in a share of the events it is a value that
the baseline has never seen (`0.03`), or every third of its values without a category is spelt in another way
(`respelt`), or 3 points of the commonest value become the third commonest (`moved`), or the tenth commonest becomes the
commonest, always (`gone`) or every other time (`half`). One false page in 100,000 events, panes of 250. A row has the
events of each seed until an alarm names the text or its groups, "-" for none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product

import numpy as np
from rich.console import Console
from rich.table import Table

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.build import BuildSettings, build_baseline
from driftline.stream.baselines.categories import categories_of
from driftline.stream.codec.levels import monitor_settings
from driftline.stream.config.sections import ModelConfig
from driftline.stream.events.event import Event
from driftline.stream.judge.incidents import Status
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.state import ModelState
from driftline.stream.panes.pane import Pane, Range

_SIGNALS, _PANE, _RATE = 20, 250, 1e-5
_START, _STEP = 1_767_571_200_000, 10_000
_RESPELT = "respelt"
_CASES = ("0.01", "0.03", "0.05", _RESPELT)
# Changes of known values.
_KNOWN = ("moved", "half", "gone")


def changed(case: str, texts: Sequence[str], known: frozenset[str], seed: int) -> list[str]:
    """What the first text is after the change. known: its categories."""
    rng = np.random.default_rng([seed, 1])
    if case in _KNOWN:
        old, new = ("v0", "v2") if case == "moved" else ("v9", "v0")
        share = {"moved": 0.03 / (texts.count(old) / len(texts)), "half": 0.5, "gone": 1.0}[case]
        return [
            new if text == old and lost else text
            for text, lost in zip(texts, rng.random(len(texts)) < share, strict=True)
        ]
    if case != _RESPELT:
        new = rng.random(len(texts)) < float(case)
        return ["new" if each else text for each, text in zip(new, texts, strict=True)]
    third = {value: rng.random() < 1 / 3 for value in sorted(set(texts) - known)}
    return [f"V{text[1:]}" if third.get(text) else text for text in texts]


def delay(case: str, values: int, rows: int, seed: int, events: int, format_version: int) -> int | None:
    """Events until the change is found; None if it is not within `events`."""
    shares = np.arange(1, values + 1) ** -0.9
    drawn = np.random.default_rng([seed, rows, values]).choice(
        values, (_SIGNALS, rows + events), p=shares / shares.sum()
    )
    texts = [[f"v{each}" for each in own] for own in drawn.tolist()]
    known = frozenset(categories_of(texts[0][:rows]))
    baseline = _baseline([own[:rows] for own in texts], format_version)
    live = [changed(case, texts[0][rows:], known, seed), *(own[rows:] for own in texts[1:])]
    return _found(baseline, [live[int(each.name[-2:])] for each in baseline.fields], rows)


def _baseline(texts: Sequence[Sequence[str]], format_version: int) -> Baseline:
    events = (
        Event(str(i), _START + i * _STEP, "m", None, {_name(s): text for s, text in enumerate(row)})
        for i, row in enumerate(zip(*texts, strict=True))
    )
    return build_baseline([*events], {"model": "m"}, BuildSettings(format_version=format_version)).with_derived()


def _name(signal: int) -> str:
    return f"features.f{signal:02}"


def _found(baseline: Baseline, texts: Sequence[Sequence[str]], rows: int) -> int | None:
    """Events of these texts until an alarm names the first signal or its groups."""
    monitor = Monitor("m", ModelConfig(false_alarms_per_event=_RATE), baseline, **monitor_settings())
    state, none = ModelState(), np.empty((_PANE, 0))
    columns = baseline.layout.encode(np.empty((len(texts[0]), 0)), texts)
    for at in range(0, len(columns) - _PANE + 1, _PANE):
        first, last = (_START + (rows + at + i) * _STEP for i in (0, _PANE - 1))
        sketch = baseline.layout.sketch(columns[at : at + _PANE], none)
        state, steps = monitor.judge(state, Pane(sketch, first, last, (Range(0, at, at + _PANE),)))
        named = {each.signal for step in steps if step.status is not Status.RESOLVED for each in step.findings}
        if any(name.startswith(_name(0)) for name in named):
            return at + _PANE
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cases", nargs="*", choices=(*_CASES, *_KNOWN), default=[*_CASES], help="changes of the first text"
    )
    parser.add_argument("--values", nargs="*", type=int, default=[1000, 100_000], help="that a text has")
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 50_000], help="of the baselines")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    parser.add_argument("--events", type=int, default=50_000, help="after which a change is missed")
    return parser.parse_args()


def main() -> None:
    """Parse arguments, simulate, print a row a cell."""
    chosen = _arguments()
    shown = Table("change", "values", "rows", "format 2", "format 3")
    for rows, case, values in product(chosen.rows, chosen.cases, chosen.values):
        found = [
            [delay(case, values, rows, seed, chosen.events, version) for seed in range(chosen.seeds)]
            for version in (2, 3)
        ]
        cells = (", ".join("-" if each is None else f"{each:,}" for each in own) for own in found)
        shown.add_row(case, f"{values:,}", f"{rows:,}", *cells)
    Console().print(shown)


if __name__ == "__main__":
    main()
