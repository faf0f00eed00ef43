"""The configuration that a worker has loaded: what it says of models, sent to the judges before it is used.

    loaded ──► baselines by hash to Redis ──► a record for each model ──► its sketchers count in it

Nothing of another configuration is taken while one is on this way, however long a server keeps it waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions
from driftline.stream.codec.levels import FIRST, TRACKS, WEIGHTS
from driftline.stream.config.sections import Config
from driftline.stream.text.phrases import listed
from driftline.stream.worker.judge_stage import JudgeSettings, JudgeStage
from driftline.stream.worker.references import Publish, References
from driftline.stream.worker.sketch_stage import SketchSettings, SketchStage


def ignored(config: Config, versions: Versions, level: int) -> Iterator[str]:
    """What a configuration, and its baselines of versions, say that has no effect at a format level, in words."""
    if level < TRACKS and versions:
        yield f"`baselines` of models {', '.join(versions)} are not used before format level {TRACKS}"
    sections = {"defaults": config.defaults} | {name: config.for_model(name) for name in config.models}
    weighed = [name for name, section in sections.items() if section.signals.rules]
    if level < WEIGHTS and weighed:
        yield f"`signals.rules` of {listed(weighed)} have no effect before format level {WEIGHTS}"


class Configuration:
    """What both stages of a worker take from its configuration.

    settings: of the first stage. level: the group's format level, 0 while it is not known; at the first one, there are
    no records, and no versions.
    """

    level: int = 0

    def __init__(
        self, settings: SketchSettings, references: References, sketch: SketchStage, judge: JudgeStage, publish: Publish
    ) -> None:
        self._settings, self._references, self._publish = settings, references, publish
        self._sketch, self._judge = sketch, judge
        self._announced, self._busy = False, asyncio.Lock()

    async def announce(self) -> None:
        """Send what models are compared with by this configuration, once, before the first pane that it has counted."""
        async with self._busy:
            await self._announce()

    async def replace(
        self,
        sketching: SketchSettings,
        judging: JudgeSettings,
        baselines: Mapping[str, Baseline],
        versions: Versions = NO_VERSIONS,
    ) -> None:
        """Go on with a configuration that was loaded again."""
        async with self._busy:
            self._settings, self._announced = sketching, False
            await self._judge.reload(judging, baselines, versions)
            await self._announce()
            if not self._announced:
                await self._exchange(NO_VERSIONS)

    async def _announce(self) -> None:
        if not self._announced and self.level > FIRST:
            await self._references.announce(self._publish, self._settings.panes)
            await self._exchange(self._references.known.versions)
            self._announced = True

    async def _exchange(self, versions: Versions) -> None:
        await self._sketch.exchange(self._settings, self._references.known.given, versions)
