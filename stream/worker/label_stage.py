"""The worker's first stage for labels that come by themselves: their records become panes of labels on the panes topic.

Labels are sealed, published and ticked as panes of events are, by the same code; see `stream.worker.sketch_stage`.
"""

from __future__ import annotations

from driftline.stream.panes.cutter import Cutter
from driftline.stream.panes.label_sketcher import LabelSketcher
from driftline.stream.panes.sketcher import Sketched
from driftline.stream.worker.faust.fetch import Fetch
from driftline.stream.worker.sketch_stage import SketchSettings, SketchStage


class LabelStage(SketchStage):
    """Reads the labels partitions assigned to this worker. settings: `SketchSettings.of_labels`."""

    async def reload(self, settings: SketchSettings) -> None:
        """Go on with a configuration that was loaded again."""
        async with self._busy:
            self._settings = settings

    def _sketcher(self, cutter: Cutter) -> LabelSketcher:
        settings, schemas = self._settings, None if self._schemas is None else self._schemas.schemas
        return LabelSketcher(settings.predictions, cutter, settings.mapping, self._waits, schemas, settings.limits)

    def _waits(self, model: str) -> bool:
        return self._settings.waits is not None and self._settings.waits(model)

    def _count(self, fetch: Fetch, sketched: Sketched) -> None:
        self._metrics.read_labels(fetch, sketched)
