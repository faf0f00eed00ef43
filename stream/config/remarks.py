"""Remarks on a valid configuration: what is hardly meant, and what has no effect on known signals and models. Pure.

Globs, names of signals and names of models are only texts until signals are known: from baselines, from events, or from
both. `unused_settings` compares them, wherever that is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import NamedTuple

from driftline.stream.config.diagnostics import DiagnosticSeverity
from driftline.stream.config.errors import dotted_path
from driftline.stream.config.sections import Config, ModelConfig
from driftline.stream.config.yaml import Path
from driftline.stream.text.phrases import listed

#: Kind of each signal by its name; "" for one whose kind is not known.
SignalKinds = Mapping[str, str]

# Between two samples of 500 events, the KS statistic reaches 1.36·sqrt(2/500) = 0.09 by chance once in twenty: as much
# as a shift of 0.2 σ.
_FEW_EVENTS = 500


class Remark(NamedTuple):
    """What is wrong at `path` of the configuration, and what may help."""

    path: Path
    message: str
    help: str
    severity: DiagnosticSeverity = "warning"

    def __str__(self) -> str:
        """The remark as one line."""
        return f"{self.message}; {self.help}" if self.help else self.message


def doubtful_settings(config: Config) -> Iterator[Remark]:
    """What is valid but hardly meant, whatever the signals are."""
    yield from _doubtful(("defaults",), config.defaults)
    if config.panes.seconds is None and config.labelled_by("topic") is not None:
        message = "without panes.seconds, labels of a topic wait until each partition of both topics has ended a run"
        yield Remark(("panes", "seconds"), message, "of a quiet partition that may take days; state it, as in `10s`")
    for field in ("baseline", "baselines"):
        if getattr(config.defaults, field):
            message = f"defaults.{field} has no effect: a baseline is that of one model"
            yield Remark(("defaults", field), message, f"write it under `models`, as `models.NAME.{field}`")
    for name, section in config.models.items():
        if not name or any(map(str.isspace, name)):
            message = "the name of a model is empty or contains white space"
            yield Remark(("models", name), message, "events must spell the name in exactly this way")
        yield from _doubtful(("models", name), section)


def unused_settings(config: Config, signals: Mapping[str, SignalKinds]) -> Iterator[Remark]:
    """The globs and kinds that match no signal, and kinds that a baseline does not have.

    signals: of each model whose signals are known, those that were left out included.
    """
    yield from _unused(config, ("defaults",), config.defaults, signals)
    for name, section in config.models.items():
        if name in signals:
            yield from _unused(config, ("models", name), section, {name: signals[name]})


def unnamed_models(config: Config, named: Collection[str], baselines: Collection[str] = ()) -> Iterator[Remark]:
    """The models of the configuration, and of given baselines, that no event names. named: the models of the events."""
    for name in config.models:
        if name not in named:
            message = f"{dotted_path(('models', name))}: no event names this model"
            yield Remark(("models", name), message, suggested_model(name, named))
    for name in sorted(set(baselines) - {*named, *config.models}):
        yield Remark((), f"the baseline of model {name}: no event names this model", suggested_model(name, named))


def unknown_upstreams(config: Config, named: Collection[str]) -> Iterator[Remark]:
    """The models in `depends_on` that neither the configuration nor an event names. named: the models of the events."""
    for name, section in config.models.items():
        for upstream in section.depends_on:
            if upstream not in {*named, *config.models}:
                path = ("models", name, "depends_on")
                help = suggested_model(upstream, {*named, *config.models})
                yield Remark(path, f"{dotted_path(path)}: no event names model {upstream}", help)


def replaced_baselines(config: Config, given: Iterable[str]) -> Iterator[Remark]:
    """The baselines of the configuration that are not used, because one is given for the same model."""
    for name in given:
        for field in ("baseline", "baselines"):
            if name in config.models and getattr(config.models[name], field):
                path = ("models", name, field)
                yield Remark(path, f"{dotted_path(path)} is not used: another baseline of this model is given", "")


def _suggested_signal(text: str, names: Collection[str]) -> str:
    """ "did you mean …?" with the signal nearest to a glob or name, or ""; a feature may lack its `features.`.

    >>> _suggested_signal("churn", ["features.churn"]), _suggested_signal("features.chrun", ["features.churn"])
    ('did you mean `features.churn`?', 'did you mean `features.churn`?')
    """
    if _matched(full := f"features.{text}", names):
        return f"did you mean `{full}`?"
    full_names = {name.removeprefix("features."): name for name in names}
    close = get_close_matches(text.removeprefix("features."), full_names, n=1)
    return f"did you mean `{full_names[close[0]]}`?" if close else ""


def suggested_model(name: str, named: Collection[str], whose: str = "events") -> str:
    """ "did you mean …?" with the model nearest to `name`, or which models there are."""
    close = get_close_matches(name, named, n=1)
    return f"did you mean `{close[0]}`?" if close else f"the models of the {whose} are {listed(sorted(named))}"


def _doubtful(path: Path, section: ModelConfig) -> Iterator[Remark]:
    where = dotted_path(path)
    if "learn_events" in section.model_fields_set and section.baseline is not None:
        message = f"{where}: learn_events has no effect beside a baseline"
        yield Remark((*path, "learn_events"), message, "remove one of the two")
    elif section.learn_events < _FEW_EVENTS:
        help = f"with fewer than {_FEW_EVENTS} events, chance alone looks like a shift of 0.2 σ"
        yield Remark((*path, "learn_events"), f"{where}: {section.learn_events} events make a poor baseline", help)
    if "*" in section.signals.exclude:
        help = "exclude only the signals that are not to be monitored"
        yield Remark((*path, "signals", "exclude"), f"{where}: `*` excludes every signal", help)
    if len(set(section.windows)) < len(section.windows):
        help = "remove one of them: each takes its share of the false alarms"
        yield Remark((*path, "windows"), f"{where}: a window is given twice", help)


def _unused(config: Config, path: Path, section: ModelConfig, signals: Mapping[str, SignalKinds]) -> Iterator[Remark]:
    for field in ("include", "exclude"):
        globs = getattr(section.signals, field)
        governed = {
            model: kinds for model, kinds in signals.items() if getattr(config.for_model(model).signals, field) == globs
        }
        for index, glob in enumerate(globs):
            yield from _no_match((*path, "signals", field, index), glob, governed)
    for glob in section.signals.rules:
        ruled = {model: each for model, each in signals.items() if glob in config.for_model(model).signals.rules}
        yield from _no_match((*path, "signals", "rules", glob), glob, ruled)
    for name, kind in section.kinds.items():
        governed = {model: each for model, each in signals.items() if config.for_model(model).kinds.get(name) == kind}
        where = (*path, "kinds", name)
        if any(name in each for each in governed.values()):
            yield from _other_kind(where, name, kind, governed)
        else:
            yield from _no_match(where, name, governed, is_glob=False)


def _no_match(path: Path, text: str, signals: Mapping[str, SignalKinds], is_glob: bool = True) -> Iterator[Remark]:
    names = {name for each in signals.values() for name in each}
    if names and not (is_glob and _matched(text, names)):
        where = dotted_path(path[: -1 if is_glob else None])
        models = f"model{'s' * (len(signals) > 1)} {listed(signals)}"
        help = _suggested_signal(text, sorted(names)) or f"its signals are {listed(sorted(names))}"
        yield Remark(path, f"{where}: `{text}` matches no signal of {models}", help)


def _other_kind(path: Path, name: str, kind: str, signals: Mapping[str, SignalKinds]) -> Iterator[Remark]:
    """Baselines that were built without this kind. Texts of true and false are boolean, whatever is wanted."""
    for model, kinds in signals.items():
        found = kinds.get(name, "")
        if found not in ("", kind) and (kind, found) != ("categorical", "boolean"):
            message = f"{dotted_path(path)} has no effect: the baseline of model {model} has it as {found}"
            yield Remark(path, message, "build the baseline again with this configuration")


def _matched(glob: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in names)
