"""What the judge stage writes to the worker's log: what panes changed that somebody may have to know of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import Versions, kinds_of
from driftline.stream.codec.panes import ReferenceMessage
from driftline.stream.config.remarks import Remark, SignalKinds, unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.judge.floors import unjudged_outcomes
from driftline.stream.judge.lateness import are_late, label_lags, late_remark
from driftline.stream.judge.monitor import Monitor
from driftline.stream.judge.slots import Bounds
from driftline.stream.judge.state import ModelState
from driftline.stream.partitions.monitors import Monitors
from driftline.stream.partitions.remembered import Changes

UnusedSettings = Callable[[Mapping[str, SignalKinds]], Iterable[Remark]]

log = logging.getLogger(__name__)

# Forgotten models that a log line names.
_NAMED = 5


def log_useless(config: Config, baselines: Mapping[str, Baseline], versions: Versions) -> None:
    """Log what of the configuration has no effect on these baselines, by model, and on those of versions."""
    given = (*baselines.values(), *(each for own in versions.values() for each in own.values()))
    unjudged = (remark for each in given for remark in unjudged_outcomes(each, config.for_model(each.model)))
    for remark in (*unused_settings(config, kinds_of(baselines, versions)), *unjudged):
        log.warning("%s", remark)


def log_changes(changes: Changes, monitors: Monitors, unused: UnusedSettings) -> None:
    """Log what is new of models: their baselines, events that come too late, and which were forgotten.

    unused: what of the configuration has no effect, given the signals of models.
    """
    for baseline in changes.newly_learned:
        _log_learned(baseline, monitors.of(baseline.model, changes.reference(baseline.model)))
        config = monitors.of(baseline.model, changes.reference(baseline.model)).config
        for remark in (*unused({baseline.model: baseline.signal_kinds}), *unjudged_outcomes(baseline, config)):
            log.warning("%s", remark)
    for model, record in changes.references.items():
        before = changes.before.references.get(model)
        if before is not None and before.baselines != record.baselines:
            log.info("model %s: compared with another baseline from here on", model)
    for model, state in changes.states.items():
        for version, learned in _newly_learned_versions(changes.before.states.get(model), state):
            what = "model %s: the baseline of version %s is learned from its first %d events"
            log.info(what, model, version, learned.total.n)
        if not state.sample and (refusal := monitors.refusal(model)):
            log.warning("model %s: no baseline can be learned from its events: %s", model, refusal)
        if _comes_too_late(state) and not _comes_too_late(changes.before.states.get(model)):
            log.warning("model %s: its traffic is not judged: many of its events come over an hour late", model)
        _log_late_labels(model, changes.before.states.get(model), state, monitors)
    if changes.forgotten:
        _log_forgotten(changes.forgotten)


def log_yielding(record: ReferenceMessage, before: ReferenceMessage | None) -> None:
    """Log that a record is not taken, if it is not. before: the one that is in effect."""
    if before is not None and record.yields_to(before) and before.baselines != record.baselines:
        log.warning("model %s: the baseline of an older configuration is not taken", record.model)


def _log_learned(baseline: Baseline, monitor: Monitor) -> None:
    log.info("model %s: its baseline is learned from its first %d events", baseline.model, baseline.total.n)
    if reason := monitor.shortened_by(baseline):
        log.warning("model %s: its baseline is learned early: %s", baseline.model, reason)


def _newly_learned_versions(before: ModelState | None, after: ModelState) -> Iterator[tuple[str, Baseline]]:
    """The versions that have learned their own baseline since a state, with that."""
    for version, track in after.tracks.items():
        known = before.tracks.get(version) if before else None
        if track.learned is not None and (known is None or known.learned is None):
            yield version, track.learned


def _log_forgotten(models: Sequence[str]) -> None:
    names = f"{', '.join(models[:_NAMED])}{', …' * (len(models) > _NAMED)}"
    log.warning("forgotten, on request or because others need their room: %d models (%s)", len(models), names)


def _log_late_labels(model: str, before: ModelState | None, after: ModelState, monitors: Monitors) -> None:
    """Log that many labels come too late, once they do. Slots are looked at now and then, so this is seldom asked."""
    own, known = after.waiting, before.waiting if before else None
    if own is None or (known is not None and known.counts.late == own.counts.late):
        return
    bounds = Bounds.of(monitors.rules.for_model(model).outcomes)
    if are_late(own.counts) and not (known is not None and are_late(known.counts)):
        log.warning("model %s: %s", model, late_remark(own.counts, label_lags(own, bounds), bounds))


def _comes_too_late(state: ModelState | None) -> bool:
    return state is not None and state.traffic is not None and state.traffic.delays.too_late
