"""For Faust's command line: `DRIFTLINE_CONFIG=driftline.yaml faust -A driftline.stream.worker.faust_app worker`.

The same worker as `driftline worker -c driftline.yaml`; this module exists because Faust finds an app by importing it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from driftline.stream.config.load import parse_config
from driftline.stream.sources.baselines import load_baselines, load_versions
from driftline.stream.sources.calendars import load_calendars
from driftline.stream.sources.schemas import schema_loader
from driftline.stream.worker.run import waits_without_end
from driftline.stream.worker.worker import Worker

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # this worker loads nothing again, and should not end either

_path = Path(os.environ.get("DRIFTLINE_CONFIG", "driftline.yaml"))
_config = parse_config(_path.read_text("utf-8"), str(_path))

app = Worker(
    _config,
    load_baselines(_config, _path.parent),
    schema_loader(_config.schemas, _path.parent),
    waits_without_end(),
    calendar_of=load_calendars(_config, _path.parent).for_model,
    versions=load_versions(_config, _path.parent),
).app
