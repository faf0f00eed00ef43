"""Building a baseline from files that hold all events."""

from __future__ import annotations

from pathlib import Path

import orjson

from driftline.detectors.decision.rates import HOUR
from driftline.stream.baselines.file import decode_baseline
from tests.harness.command_line import Run


def test_a_build_learns_the_rates_if_the_configuration_says_that_its_files_are_whole(run: Run) -> None:
    first = 480_000 * 3_600_000
    rows = [{"id": str(i), "ts": first + i * 60_000, "model": "fraud", "score": i % 100 / 100} for i in range(3000)]
    Path("whole.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    Path("driftline.yaml").write_text("models: {fraud: {absence: {rates: true}}}", encoding="utf-8")
    build = ("baseline", "build", "whole.jsonl", "--model", "fraud")
    assert run(*build, "-o", "sample").code == 0
    assert run(*build, "-c", "driftline.yaml", "-o", "whole").code == 0
    assert run(*build, "-c", "driftline.yaml", "-o", "none", "--unordered").code == 2
    sample, whole = (decode_baseline(Path(name).read_bytes()).rates for name in ("sample", "whole"))
    assert sample is None
    assert whole is not None
    assert whole.learned == 48 * HOUR, "the first and the last hour may be parts of one"
