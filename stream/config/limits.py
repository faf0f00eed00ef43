"""The section `limits` of driftline.yaml: how much one message, batch or model may take, whoever sends it.

Each field is a bound on what a single input can cost. What exceeds one becomes a dead letter that names the field.
"""

from __future__ import annotations

from pydantic import Field

from driftline.stream.config.fields import Section, Whole
from driftline.stream.events.limits import DEFAULT_LIMITS, MessageLimits


class Limits(Section):
    """Bounds of what is read. What exceeds one becomes a dead letter that names the field to raise."""

    message_bytes: Whole = Field(
        DEFAULT_LIMITS.message_bytes,
        ge=1024,
        le=16 << 20,
        description="Bytes of one message, unpacked. The default is the largest one that brokers accept by default "
        "(message.max.bytes), and takes some 50 MB while it is parsed; 16 MiB take 1 GB.",
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
        description="Names of signals in one event, those of the objects around values included. Each signal of a "
        "model takes 10 kB and 0.3 ms of judging per evaluation; a producer that puts an id into a name invents a new "
        "one with every event.",
    )

    def of_messages(self) -> MessageLimits:
        """The bounds of one message, in the form that readers use."""
        return MessageLimits(self.message_bytes, self.depth, self.signals)
