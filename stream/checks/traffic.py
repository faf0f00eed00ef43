"""Whether the newest events on the predictions topic fit the mapping, the baselines and the configuration. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from driftline.stream.baselines.baseline import Baseline
from driftline.stream.baselines.given import NO_VERSIONS, Versions, kinds_of
from driftline.stream.baselines.unseen import unseen_remarks
from driftline.stream.checks.finding import Finding, as_findings
from driftline.stream.config.remarks import suggested_model, unknown_upstreams, unnamed_models, unused_settings
from driftline.stream.config.sections import Config
from driftline.stream.events.columns import infer_fields
from driftline.stream.events.event import Event, Rejection
from driftline.stream.events.frames import Schema
from driftline.stream.events.mapping import Origin
from driftline.stream.events.parse import EventError, EventReader
from driftline.stream.events.rejections import Rejections
from driftline.stream.text.phrases import listed

# Share of the messages that may be refused without a warning: logs do hold some broken ones.
_MAX_REFUSED = 0.01


@dataclass
class Sample:
    """Messages of the predictions topic, read: their number, those that were refused, and the events by model."""

    refused: Rejections
    messages: int = 0
    events: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))

    @property
    def signals(self) -> dict[str, dict[str, str]]:
        """By model, the names of the signals in its events; their kinds are not known."""
        return {
            model: dict.fromkeys((each.name for each in infer_fields(events)), "")
            for model, events in self.events.items()
        }


def read_sample(
    messages: Iterable[tuple[bytes | None, Origin]],
    config: Config,
    schemas: Mapping[int, Schema] | None = None,
) -> Sample:
    """The messages as a sample, read as the configuration says. schemas: see `EventReader`."""
    mapping = config.mapping.event_mapping()
    reader, sample = EventReader(mapping, schemas, config.limits.of_messages()), Sample(Rejections(mapping))
    for data, origin in messages:
        sample.messages += 1
        try:
            parsed = reader.read(data, origin)
        except EventError as error:
            sample.refused.add([Rejection(0, str(error))], [data])
            continue
        for event in parsed.events:
            sample.events[event.model].append(event)
        sample.refused.add([Rejection(0, fault.reason, fault.row) for fault in parsed.faults], [data])
    return sample


def traffic_findings(
    config: Config, baselines: Mapping[str, Baseline], sample: Sample, versions: Versions = NO_VERSIONS
) -> Iterator[Finding]:
    """What the sample shows. baselines: those of the configuration, by model; versions: those of versions."""
    yield _refusals(sample)
    if not sample.events:
        return
    kinds = kinds_of(baselines, versions)
    remarks = [
        *unused_settings(config, sample.signals | kinds),
        *unnamed_models(config, sample.events),
        *unknown_upstreams(config, sample.events),
    ]
    found = as_findings("traffic", remarks)
    for model, events in sample.events.items():
        for baseline, own in _by_baseline(baselines.get(model), versions.get(model, {}), events):
            found += _compared(model, baseline, own)
        if config.models:
            found += _unknown(model, config, {*baselines, *versions})
    yield from found
    if not found:
        yield Finding("traffic", "ok", f"the events of {listed(sample.events)} fit the configuration and its baselines")


def _refusals(sample: Sample) -> Finding:
    total = sum(map(len, sample.events.values()))
    if not sample.messages:
        return Finding(
            "traffic", "warning", "the predictions topic is empty", "check `topics.predictions`, and the producers"
        )
    read = f"{total:,} events in the newest {sample.messages:,} messages"
    if not sample.refused.total:
        return Finding("traffic", "ok", f"{read}, none refused")
    refused, cause = sample.refused.total, sample.refused.causes()[0]
    message = f"{read}, {refused:,} refused; {cause.times:,} for {cause.place}, such as: {cause.example}"
    few = refused <= _MAX_REFUSED * (refused + total)
    return Finding("traffic", "ok" if few else "warning" if total else "error", message, "" if few else _CORRECT)


_CORRECT = "correct `mapping`, or what the producers write; the refused messages become dead letters"


def _by_baseline(
    baseline: Baseline | None, versions: Mapping[str, Baseline], events: Sequence[Event]
) -> Iterator[tuple[Baseline, list[Event]]]:
    """The baselines of a model, each with the events that are compared with it."""
    for own in dict.fromkeys([baseline, *versions.values()]):
        if own and (compared := [each for each in events if versions.get(each.version or "", baseline) is own]):
            yield own, compared


def _compared(model: str, baseline: Baseline, events: list[Event]) -> Iterator[Finding]:
    names = {each.name for each in infer_fields(events)}
    yield from as_findings("traffic", unseen_remarks(baseline, baseline.sketch_events(events)))
    if new := sorted(names - baseline.signal_kinds.keys()):
        message = f"model {model}: {listed(new)} in its events, but not in its baseline, are not monitored"
        yield Finding("traffic", "warning", message, "build a new baseline from traffic that has them")


def _unknown(model: str, config: Config, given: Collection[str]) -> Iterator[Finding]:
    if model not in config.models and model not in given:
        message = f"model {model} has no section in the configuration: the defaults hold"
        yield Finding("traffic", "warning", message, suggested_model(model, config.models, "configuration"))
