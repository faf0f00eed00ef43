"""The section `limits` of driftline.yaml: how much one message, batch or model may take, whoever sends it.

Each field is a bound on what a single input can cost. What exceeds one becomes a dead letter that names the field.
"""

from __future__ import annotations

from pydantic import Field

from driftline.stream.config.fields import Duration, LongDuration, Section, Whole, duration_field
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits


class Limits(Section):
    """Bounds of what is read. What exceeds one becomes a dead letter that names the field to raise."""

    message_bytes: Whole = Field(
        DEFAULT_LIMITS.message_bytes,
        ge=1024,
        le=16 << 20,
        description="Bytes of one message, unpacked. The default is the largest one that brokers accept by default "
        "(message.max.bytes), and takes up to 75 MB while it is parsed; 16 MiB take 1.2 GB.",
    )
    depth: Whole = Field(
        DEFAULT_LIMITS.depth,
        ge=4,
        le=200,
        description="Objects or arrays in each other in one message. Logs of model servers have some 10; parsers of "
        "JSON stop working between 250 and 1000.",
    )
    signals: Whole = Field(
        DEFAULT_LIMITS.signals,
        ge=1,
        le=50_000,
        description="Names of signals in one event, those of the objects around values included; and the signals that "
        "are watched of a model, the commonest names of its sample. Each signal of a model takes 10 kB and 0.3 ms of "
        "judging per evaluation; a producer that puts an id into a name invents a new one with every event.",
    )
    batch_bytes: Whole = Field(
        64 << 20,
        ge=1 << 20,
        le=1 << 30,
        description="Bytes that the records of one batch may take, unpacked; a megabyte of zeros can be a gigabyte. A "
        "producer sends batches of up to 1 MiB by default, and JSON becomes some 20 times smaller: the default is 64 "
        "times that MiB. A worker unpacks at most twice as much at once, and holds some three such fetches.",
    )
    sample_values: Whole = Field(
        2_000_000,
        ge=10_000,
        le=100_000_000,
        description="Values in the warm-up of one model, where a text, a name or a long number counts once more for "
        "every 64 characters. When they are reached before `learn_events`, the baseline is learned from what is there: "
        "never from fewer than 100 events. Two million take 170 MB, as 100,000 events of 20 signals; fewer than 10,000 "
        "would end the warm-up of a model with 100 signals at once.",
    )
    warm_up_values: Whole = Field(
        20_000_000,
        ge=10_000,
        le=1_000_000_000,
        description="Values in the warm-ups of all models of a partition of the panes topic, counted as in "
        "`sample_values`. When they are reached, models that have been silent for `newcomer_silence` give way; else "
        "what arrives is a dead letter. Twenty million take 1.7 GB: the events of 200 models of 20 signals, each just "
        "before it learns.",
    )
    run_bytes: Whole = Field(
        64 << 20,
        ge=1 << 20,
        le=1 << 30,
        description="Bytes of messages after which a run ends, however few events they hold. Until then a worker keeps "
        "the events of models without a baseline. By default a run ends after 25,000 messages, which take 64 MiB if "
        "each has 2.6 kB.",
    )
    newcomers: Whole = Field(
        200,
        ge=1,
        le=100_000,
        description="Models without a baseline that may warm up at the same time in each partition of the panes topic. "
        "One takes at most what `sample_values` says, and mostly 8 MB. When all places are taken, one that has been "
        "silent for `newcomer_silence`, or brought fewer events than the arriving one, gives way; else the arriving "
        "one is a dead letter.",
    )
    newcomer_silence: Duration = duration_field(
        "1h",
        "How long a model that warms up must have been silent before it gives way to any other. An invented name "
        "never comes again; a real model that is quieter than this learns only while there is room.",
    )
    unknown_lifetime: LongDuration | None = duration_field(
        "90d",
        "How long a model with a learned baseline must have been silent before it is forgotten when "
        "`worker.unknown_models` are remembered and another one has learned; null: never. A seasonal model may rest "
        "for a quarter.",
    )

    def of_messages(self) -> MessageLimits:
        """The bounds of one message, in the form that readers use."""
        return MessageLimits(self.message_bytes, self.depth, self.signals)
