"""The sections of driftline.yaml as frozen types: every field with its unit, default and bounds.

The descriptions are the documentation: they give the reason for each bound, and appear in the published JSON Schema and
as the help of an error. No field holds a secret: `password_env` names an environment variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Literal, Self

from pydantic import Field, model_validator

from driftline.detectors.decision.budget import Family, rate_per_event, shares
from driftline.stream.config.absence import Absence
from driftline.stream.config.budget import Budget, Groups, Pages
from driftline.stream.config.calendar import Calendar
from driftline.stream.config.fields import (
    Addresses,
    CaFile,
    Flag,
    HttpUrl,
    KindName,
    PasswordEnv,
    PinnedWindow,
    Real,
    RedisUrl,
    RuleError,
    Section,
    Text,
    Topic,
    Version,
    Whole,
)
from driftline.stream.config.files import FileOptions
from driftline.stream.config.history import History
from driftline.stream.config.incidents import Incidents
from driftline.stream.config.limits import Limits
from driftline.stream.config.lineage import find_circle
from driftline.stream.config.mapping import Mapping
from driftline.stream.config.outcomes import Outcomes
from driftline.stream.config.panes import Panes
from driftline.stream.config.relay import Relay
from driftline.stream.config.serve import Serve
from driftline.stream.config.signals import Signals
from driftline.stream.config.worker import Worker

# Names of models whose configuration is remembered: messages may name any number.
_NAMES = 10_000
_LOGIN = re.compile(r"(?<=://)[^@/]*(?=@)")

#: The fewest events from which a baseline is learned.
FEWEST_EVENTS = 100


class Kafka(Section):
    """How to reach Kafka."""

    bootstrap: Addresses = Field(
        "localhost:9092",
        description="Brokers to start from: host:port, separated by commas without spaces. "
        "Name two or three, so that one may be down.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="SSL encrypts, SASL logs in. PLAINTEXT is for a trusted network."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How to log in; needed by SASL_PLAINTEXT and SASL_SSL."
    )
    username: Text | None = Field(None, description="Name to log in with; needed by SASL_PLAINTEXT and SASL_SSL.")
    password_env: PasswordEnv = None
    ca_file: CaFile = None

    idempotent: Flag = Field(
        True,
        description="Write to Kafka idempotently: a retried record is written once, in order. "
        "Off only for a broker without InitProducerId, such as the embedded one.",
    )

    @model_validator(mode="after")
    def _login_and_authorities_fit_the_protocol(self) -> Self:
        protocol = self.security_protocol
        login = ("sasl_mechanism", "username", "password_env")
        given = [field for field in login if getattr(self, field) is not None]
        absent = [field for field in login if field not in given]
        if protocol.startswith("SASL") and absent:
            raise RuleError(f"{protocol} needs {' and '.join(absent)} too", "security_protocol")
        if not protocol.startswith("SASL") and given:
            raise RuleError(f"has no effect, {protocol} does not log in", given[0])
        if not protocol.endswith("SSL") and self.ca_file is not None:
            raise RuleError(f"has no effect, {protocol} does not encrypt", "ca_file")
        return self


class Redis(Section):
    """How to reach Redis or Valkey, which stores the state of the workers and the relay."""

    url: RedisUrl = Field(
        "redis://localhost:6379/0",
        repr=False,
        description="redis://host:port/db, rediss:// for TLS, redis+sentinel://host:26379,host2:26379/master/0, "
        "redis+cluster://host:6379,host2:6379. A password in it (%-encoded) is never printed, but password_env "
        "keeps it out of the file.",
    )
    password_env: PasswordEnv = None
    ca_file: CaFile = None
    replicas: Whole = Field(
        0,
        ge=0,
        le=10,
        description="Replicas of a server whose disks must hold the end of an idle run, and a worker's claim to a "
        "partition, before they count (WAITAOF, Redis 7.2), so that a failover loses neither. As many as each primary "
        "has, since any of them may follow it: with fewer, those that took no part may be promoted. More than 10 are "
        "not in use anywhere.",
    )

    @model_validator(mode="after")
    def _password_and_authorities_fit_the_url(self) -> Self:
        login = _LOGIN.search(self.url)
        if self.password_env is not None and login and ":" in login[0]:
            raise RuleError("has no effect, the URL has a password already", "password_env")
        if self.ca_file is not None and not self.url.startswith("rediss"):
            raise RuleError("has no effect, only rediss:// encrypts", "ca_file")
        return self


class Topics(Section):
    """Names of the topics, and how `driftline topics create` creates them. Dead letters go to <topic>.dlq."""

    predictions: Topic = Field("predictions", description="Topic from which prediction events are read.")
    labels: Topic = Field("labels", description="Topic from which label events are read.")
    panes: Topic = Field("driftline.panes", description="Topic between the two stages of the workers.")
    alerts: Topic = Field("driftline.alerts", description="Topic to which alerts are written.")
    partitions: Whole = Field(
        4,
        ge=1,
        le=4000,
        description="Partitions of a new topic, and so the most workers that can share it. "
        "One broker carries about 4000, of all topics together.",
    )
    replication: Whole = Field(
        1,
        ge=1,
        le=10,
        description="Copies of a new topic, each on another broker. "
        "With 1, a lost disk loses the log: use 3 in production; more than 10 are not in use anywhere.",
    )
    retention_hours: Whole | None = Field(
        168,
        ge=1,
        le=87_600,
        description="Hours for which a new topic keeps its records, at most ten years; null: the broker's default. "
        "If the workers stop for longer, records are lost unread.",
    )

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        owner: dict[str, str] = {}
        for field in ("predictions", "labels", "panes", "alerts"):
            name = getattr(self, field)
            for topic in (name, f"{name}.dlq"):
                if topic in owner:
                    raise RuleError(f"{topic} is the topic of {owner[topic]} already", field)
                owner[topic] = field
        return self


class Schemas(Section):
    """Where the schemas of messages in schema-registry frames (Avro, JSON Schema) come from; by default, from nowhere.

    Plain JSON messages need none.
    """

    registry: HttpUrl | None = Field(
        None, description="URL of a registry that speaks Confluent's protocol. Each schema is asked for once."
    )
    folder: Text | None = Field(
        None,
        description="Folder with the schemas, as files <id>.avsc or <id>-NAME.avsc (Avro), <id>.json (JSON Schema).",
    )
    username: Text | None = Field(
        None, description="Name to log in to the registry with; Confluent Cloud: the API key."
    )
    password_env: PasswordEnv = None
    ca_file: CaFile = None

    @model_validator(mode="after")
    def _one_source_with_what_belongs_to_it(self) -> Self:
        if self.registry is not None and self.folder is not None:
            raise RuleError("has no effect, the schemas come from the registry", "folder")
        for field in ("username", "password_env", "ca_file"):
            if getattr(self, field) is not None and self.registry is None:
                raise RuleError("has no effect without `registry`", field)
        if (self.username is None) != (self.password_env is None):
            given, other = ("username", "password_env") if self.username else ("password_env", "username")
            raise RuleError(f"needs {other} too", given)
        if self.ca_file is not None and not str(self.registry).startswith("https"):
            raise RuleError("has no effect, only https:// encrypts", "ca_file")
        return self


class ModelConfig(Section):
    """How to monitor a model. `defaults` holds for every model; `models` changes single fields for one of them."""

    baseline: Text | None = Field(
        None,
        description="Path of a baseline file; null: the model's first `learn_events` events become its baseline.",
    )
    baselines: dict[Version, Text] = Field(
        default_factory=dict,
        description='Paths of the baseline files of single versions of the model: `"5.0": fraud-5.driftline`. Each of '
        "these is judged against its own. All others are judged against `baseline` or, without one, each learns its "
        "own. Versions are spelt as events spell them.",
    )
    learn_events: Whole = Field(
        5000,
        ge=FEWEST_EVENTS,
        le=100_000,
        description="Events of the warm-up, which become the baseline of a model without a baseline file. Under 100, "
        "its quantiles mean nothing; 100,000 take 170 MB with 20 signals until then: for more, build a file. It ends "
        "earlier when the events hold `limits.sample_values`.",
    )
    reference: Literal["baseline", "past"] = Field(
        "baseline",
        description="What live traffic is compared with: the baseline (from a file or learned) or, if none can be "
        "trusted, the model's own past, where each new level becomes the past once it has been reported.",
    )
    false_alarms_per_event: Real = Field(
        1e-6,
        gt=0,
        le=0.01,
        description="False alarms of a model per event while nothing drifts, shared among its signals, tests and "
        "windows; 1e-6 is one in a million events. Over 0.01, more than every hundredth event may raise an alarm. "
        "`false_pages` states the same by time, and takes its place.",
    )
    false_pages: Pages | None = Field(
        None,
        description="False pages of a model while nothing drifts, such as `1 per month` (day, week, month, quarter, "
        "year), by its own traffic: a tenth is for its traffic (`absence`), unless `absence.false_pages` states "
        "another number, the rest for its data. null: `false_alarms_per_event` says how many.",
    )
    clock: Whole = Field(
        50,
        ge=1,
        le=1_000_000,
        description="Events between two evaluations of a model. Fewer find drift sooner, but more evaluations share "
        "the false alarms. Over a million, drift waits longer than the largest pane.",
    )
    windows: tuple[PinnedWindow, ...] = Field(
        (),
        description='Windows to evaluate: "5000 events", or "90s", "15m", "1h", "7d" of event time; at most a billion '
        "events or 366 days. Empty: every length at once, so that large changes are found fast and small ones at all.",
    )
    signals: Signals = Field(default_factory=Signals, description="Which signals are monitored.")
    kinds: dict[str, KindName] = Field(
        default_factory=dict,
        description="Kinds of signals whose values do not show them, by name: `features.zip: categorical`.",
    )
    absence: Absence = Field(default_factory=Absence, description="How the model's traffic is judged.")
    calendar: Calendar = Field(
        default_factory=Calendar, description="Holidays and planned work: traffic is neither judged nor learned then."
    )
    outcomes: Outcomes = Field(default_factory=Outcomes, description="Whether the model is right, by labels.")
    incidents: Incidents = Field(default_factory=Incidents, description="How alarms become pages.")
    history: History | None = Field(
        default_factory=History,
        description="For how long signals are kept over time, for `driftline serve`; null: not at all.",
    )
    depends_on: tuple[Text, ...] = Field(
        (),
        description="Models whose output this one uses. While one of them has an open incident, drift of this model is "
        "reported on its page. They need no section of their own.",
    )

    @model_validator(mode="after")
    def _pages_are_stated_once(self) -> Self:
        if self.false_pages is not None and "false_alarms_per_event" in self.model_fields_set:
            raise RuleError("takes the place of false_alarms_per_event: keep one of the two", "false_pages")
        return self

    @property
    def states_pages(self) -> bool:
        """Whether this section says how many false pages there may be."""
        return bool({"false_pages", "false_alarms_per_event"} & self.model_fields_set)

    @property
    def pages(self) -> dict[Family, float | None]:
        """False pages in 30 days of each family; None of data: a rate per event is stated instead, for outcomes, too.

        None of absence: the traffic is not judged.
        """
        own = self.absence.false_pages
        if self.false_pages is None:
            return {Family.DATA: None, Family.ABSENCE: own}
        absent = {Family.ABSENCE} if "false_pages" in self.absence.model_fields_set else set[Family]()
        absent |= {Family.OUTCOMES} if self.outcomes.labels is None else set()
        parts = shares({*Family} - absent)
        allowed = {family: share * self.false_pages.a_month for family, share in parts.items()}
        return {Family.ABSENCE: own, **allowed}

    @property
    def allowed(self) -> str:
        """What is allowed of the tests of the model's data, in words."""
        if (pages := self.pages[Family.DATA]) is None:
            return f"one false alarm in {1 / self.false_alarms_per_event:,.0f} events"
        return f"{pages:.3g} false pages in 30 days"

    def rate_per_event(self, pace: float, family: Family = Family.DATA) -> float:
        """False alarms per event that tests of a family may raise while nothing drifts. pace: its events in 30 days."""
        pages = self.pages.get(family)
        return self.false_alarms_per_event if pages is None else rate_per_event(pages, pace)

    @property
    def is_given_baselines(self) -> bool:
        """Whether the model, or one of its versions, is given a baseline."""
        return self.baseline is not None or bool(self.baselines)


class Config(Section, title="Driftline configuration"):
    """driftline.yaml. Every field has a default, so the empty file is valid."""

    version: Literal[1] = Field(1, description="Version of this format; this Driftline reads 1.")
    kafka: Kafka = Field(default_factory=Kafka, description="How to reach Kafka.")
    redis: Redis = Field(default_factory=Redis, description="How to reach Redis or Valkey.")
    topics: Topics = Field(default_factory=Topics, description="Names of the topics, and how to create them.")
    mapping: Mapping = Field(default_factory=Mapping, description="How messages and tables become events.")
    schemas: Schemas = Field(
        default_factory=Schemas, description="Where the schemas of messages in schema-registry frames come from."
    )
    files: FileOptions = Field(default_factory=FileOptions, description="How the files that are read are written.")
    limits: Limits = Field(default_factory=Limits, description="How much one message, batch or model may take.")
    panes: Panes = Field(default_factory=Panes, description="When a pane ends.")
    defaults: ModelConfig = Field(default_factory=ModelConfig, description="How to monitor every model.")
    models: dict[str, ModelConfig] = Field(
        default_factory=dict, description="Fields that differ for single models, by the model's name."
    )
    budgets: tuple[Budget, ...] = Field(
        (), description="False pages of groups of models, each instead of what `defaults` allow every model."
    )
    worker: Worker = Field(default_factory=Worker, description="The process `driftline worker`.")
    relay: Relay = Field(default_factory=Relay, description="The process `driftline relay`.")
    serve: Serve = Field(default_factory=Serve, description="The process `driftline serve`.")

    @model_validator(mode="after")
    def _models_depend_on_others_without_a_circle(self) -> Self:
        if self.defaults.depends_on:
            raise RuleError("belongs under a model: it cannot hold for all of them", "defaults", "depends_on")
        if circle := find_circle({name: model.depends_on for name, model in self.models.items()}):
            raise RuleError(f"goes in a circle: {' → '.join(circle)}", "models", circle[0], "depends_on")
        return self

    @model_validator(mode="after")
    def _groups_know_how_many_they_are(self) -> Self:
        self._groups.check()
        return self

    @model_validator(mode="after")
    def _what_is_proven_has_a_baseline(self) -> Self:
        for where in (("defaults",), *(("models", name) for name in self.models)):
            section = self.for_model(where[1]) if len(where) > 1 else self.defaults
            if section.reference == "past" and section.signals.bet_on:
                rule = f"leaves `guarantee: proven` of {section.signals.bet_on} no baseline to bet against"
                raise RuleError(f"{rule}; take `baseline`, or `measured`", *where, "reference")
        return self

    def for_model(self, model: str) -> ModelConfig:
        """How to monitor `model`: the defaults, changed by its group's budget and by what its own section sets."""
        override, of_group = self.models.get(model), self._groups.pages(model)
        merged = self.defaults.changed_by(override) if override else self.defaults
        if of_group is not None:
            return merged.model_copy(update={"false_pages": of_group})
        if override and "false_alarms_per_event" in override.model_fields_set:
            return merged.model_copy(update={"false_pages": None})
        return merged

    def labelled_by(self, source: Literal["event", "topic"]) -> Callable[[str], bool] | None:
        """Whether the labels of a model come from there; None if those of no model do."""
        some = any(each.outcomes.labels == source for each in (self.defaults, *self.models.values()))
        return lru_cache(_NAMES)(lambda model: self.for_model(model).outcomes.labels == source) if some else None

    @property
    def known_models(self) -> list[str]:
        """The models that this configuration names."""
        return sorted({*self.models, *self._groups.literal})

    @cached_property
    def _groups(self) -> Groups:
        stating = frozenset(name for name, section in self.models.items() if section.states_pages)
        return Groups(self.budgets, frozenset(self.models), stating)

    def redacted(self) -> Config:
        """This configuration without user and password in the Redis URL, so that it can be printed."""
        url = _LOGIN.sub("***", self.redis.url)
        return self.model_copy(update={"redis": self.redis.model_copy(update={"url": url})})
