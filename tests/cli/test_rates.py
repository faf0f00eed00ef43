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
    built = run(*build, "-c", "driftline.yaml", "-o", "whole")
    assert built.code == 0
    assert "model fraud: the files cover 2 days; its traffic is judged fully once two weeks are known" in built.err
    refused = run(*build, "-c", "driftline.yaml", "-o", "none", "--unordered")
    assert refused.code == 2
    assert "models.fraud.absence.rates needs the events' times" in refused.err
    assert "leave out --unordered and --format 1, or set it to false" in refused.err
    sample, whole = (decode_baseline(Path(name).read_bytes()).rates for name in ("sample", "whole"))
    assert sample is None
    assert whole is not None
    assert whole.learned == 48 * HOUR, "the first and the last hour may be parts of one"
