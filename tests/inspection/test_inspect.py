"""Which part of an event each column is taken for, and why."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.config.load import parse_config
from driftline.stream.config.sections import Config
from driftline.stream.events.mapping import Origin
from driftline.stream.events.parse import EventReader
from driftline.stream.inspection.configuration import signal_glob
from driftline.stream.inspection.inspect import Inspection, Message, Source, inspect_messages, prove

T0 = 1_767_225_600_000


def flat(n: int = 300, **columns: Any) -> list[dict[str, Any]]:
    """Rows with a time, two features and `columns`: values, or functions of the row's number."""
    chance = random.Random(1)
    return [
        {
            "timestamp": T0 + 1000 * row,
            "amount": chance.gauss(50, 10),
            "country": chance.choice(["de", "fr"]),
            **{name: value(row) if callable(value) else value for name, value in columns.items()},
        }
        for row in range(n)
    ]


def inspect(
    documents: Iterable[Mapping[str, Any]], settings: Config | None = None, source: Source | None = None
) -> Inspection:
    messages = [Message(Origin("f", 0, row), orjson.dumps(each)) for row, each in enumerate(documents)]
    source, settings = source or Source("churn"), settings or Config()
    return prove(inspect_messages(messages, source, settings), messages, source, settings)


def mapping(found: Inspection) -> dict[str, Any]:
    return {part: choice.value for part, choice in found.proposal.fields.items()}


def test_flat_rows_are_read_as_they_are() -> None:
    found = inspect(flat())

    assert mapping(found) == {"id": "$record", "ts": "timestamp", "model": "=churn", "features": "rest"}
    assert found.outcome == "With this mapping 300 of 300 records are events, 2 features."
    assert found.problem is None


def test_the_native_shape_is_found_as_such() -> None:
    rows = [
        {"id": row, "ts": T0 + row, "model": "m", "version": "2", "features": {"a": row % 7 + 0.5}, "score": row / 999}
        for row in range(300)
    ]

    parts = {part: part for part in ("id", "ts", "model", "version", "score", "features")}
    assert mapping(inspect(rows)) == parts


def test_prediction_score_and_label_are_found_by_names_and_values() -> None:
    found = inspect(
        flat(y_pred=lambda row: row % 2, churn_probability=lambda row: row / 300, churned=lambda row: row % 3 == 0)
    )

    assert mapping(found) | {"prediction": "y_pred", "score": "churn_probability", "label": "churned"} == mapping(found)
    assert found.signals == ["features.amount", "features.country", "prediction", "score"]


def test_a_column_that_may_be_the_truth_stays_a_feature_without_a_prediction_and_a_note_says_so() -> None:
    found = inspect(flat(is_fraud=lambda row: row % 2 == 0))

    assert "features.is_fraud" in found.signals
    assert any("is_fraud stays a feature" in note for note in found.proposal.notes)


def test_a_probability_beyond_1_is_no_score() -> None:
    assert "score" not in mapping(inspect(flat(prob=lambda row: row * 1.5)))


def test_an_id_must_differ_in_every_record() -> None:
    assert mapping(inspect(flat(user_id=lambda row: row // 3)))["id"] == "$record"
    assert mapping(inspect(flat(request_id=lambda row: f"r-{row}")))["id"] == "request_id"


def test_a_user_id_is_left_out_of_what_is_monitored_and_a_shop_id_is_not() -> None:
    found = inspect(flat(user_id=lambda row: row // 2, shop_id=lambda row: row % 5))

    assert set(found.proposal.excluded) == {"features.user_id"}
    assert "features.shop_id" in found.signals


def test_counters_further_times_and_texts_that_always_differ_are_left_out() -> None:
    found = inspect(flat(row=lambda row: row, updated_at=lambda row: T0 + row, note=lambda row: f"text {row}"))

    assert set(found.proposal.excluded) == {"features.row", "features.updated_at", "features.note"}
    assert found.signals == ["features.amount", "features.country"]


def test_a_column_called_model_with_many_values_is_a_feature() -> None:
    found = inspect(flat(model=lambda row: f"car {row % 50}"))

    assert mapping(found)["model"] == "=churn"
    assert "features.model" in found.signals


@pytest.mark.parametrize("name", ["weight", "tags"])
def test_a_feature_called_like_a_part_of_an_event_is_monitored(name: str) -> None:
    found = inspect(flat(**{name: lambda row: 60.5 + row % 40}))

    assert f"features.{name}" in found.signals


def test_columns_with_spaces_and_odd_characters_can_be_mapped() -> None:
    rows = [{"event time": T0 + row, "Amount (€) #1: [x]*": row % 7 + 0.5, "user id": row // 2} for row in range(300)]
    found = inspect(rows)

    assert mapping(found)["ts"] == "event time"
    assert found.signals == ["features.Amount (€) #1: [x]*"]


def test_nested_messages_are_mapped_by_paths() -> None:
    rows = [
        {"request": {"id": f"r{row}", "at": T0 + row}, "endpoint": "fraud", "inputs": {"row": {"a": row % 7 + 0.5}}}
        for row in range(300)
    ]

    assert mapping(inspect(rows)) == {
        "id": "request.id", "ts": "request.at", "model": "endpoint", "features": "inputs",
    }  # fmt: skip


def test_what_lies_outside_the_features_is_named() -> None:
    found = inspect([{"ts": T0 + row, "features": {"a": row % 7 + 0.5, "b": 1}, "latency": 1.5} for row in range(300)])

    assert "not monitored, outside features: latency" in found.proposal.notes


@pytest.mark.parametrize(
    ("message", "preset", "features"),
    [
        ({"time": "2026-01-01T00:00:00Z", "inferenceservicename": "m",
          "data": {"inputs": [{"name": "a", "shape": [2], "data": [1.5, 2.5]}]}}, "kserve-v2", "a"),
        ({"timestamp": T0, "model_name": "m", "inputs": [{"name": "a", "shape": [2], "data": [1.5, 2.5]}],
          "outputs": [{"name": "p", "shape": [2], "data": [0, 1]}]}, "kserve-v2", "a"),
        ({"time": "2026-01-01T00:00:00Z", "inferenceservicename": "m", "data": {"instances": [{"a": 1.5}]}},
         "kserve-v1", "a"),
        ({"ts": T0, "model": "m", "request": {"data": {"names": ["a"], "ndarray": [[1.5], [2.5]]}}}, "seldon", "a"),
        ({"captureData": {"endpointInput": {"data": "1.5,b", "encoding": "CSV"}},
          "eventMetadata": {"eventId": "e", "inferenceTime": "2026-01-01T00:00:00Z"}}, "sagemaker", "0"),
        ({"op": "c", "ts_ms": T0, "before": None, "after": {"a": 1.5}, "source": {"table": "t"}}, "debezium", "a"),
        ({"ts": T0, "instances": [{"a": 1.5}, {"a": 2.5}], "predictions": [0, 1]}, "instances", "a"),
        ({"ts": T0, "rows": [{"a": 1.5}, {"a": 2.5}]}, "instances", "a"),
    ],
)  # fmt: skip
def test_messages_of_model_servers_are_recognised(message: dict[str, Any], preset: str, features: str) -> None:
    found = inspect([message] * 30)

    assert found.problem is None
    assert mapping(found)["preset"] == preset
    assert f"features.{features}" in found.signals


def test_lists_among_features_are_no_rows() -> None:
    found = inspect(flat(embedding=lambda row: [0.1, 0.2, row]))

    assert found.shape is None
    assert "not monitored, arrays: embedding" in found.proposal.notes


def test_spellings_of_missing_are_listed_where_numbers_are_due_and_only_there() -> None:
    found = inspect(
        flat(age=lambda row: "NA" if row % 5 == 0 else 20.5 + row % 50, land=lambda row: ["NA", "DE"][row % 2])
    )

    assert mapping(found)["nulls"] == ["NA"]
    other = inspect(flat(land=lambda row: ["NA", "DE"][row % 2]))
    assert "nulls" not in mapping(other)
    assert any("land: 'NA' counts as a category" in note for note in other.proposal.notes)


def test_without_a_time_the_problem_names_the_columns_that_could_be_it() -> None:
    found = inspect([{"when": "last week", "created_at": "soon", "a": row} for row in range(30)])

    assert found.configuration is None
    assert found.problem is not None
    assert "created_at ('soon')" in found.problem


def test_numbers_that_rise_like_epoch_times_are_a_time_whatever_their_name() -> None:
    rising = [{"happened": T0 + 1000 * row, "a": row % 7 + 0.5} for row in range(60)]
    jumping = [{"ts": T0 + row, "account": T0 + (row * 7919) % 61} for row in range(60)]

    assert mapping(inspect(rising))["ts"] == "happened"
    assert mapping(inspect(jumping))["ts"] == "ts"
    assert inspect(jumping).signals == ["features.account"]


def test_records_of_a_topic_have_a_time_of_their_own() -> None:
    source = Source("churn", is_topic=True)
    messages = [Message(Origin("churn", 0, row, T0 + row), b'{"a": %d.5}' % (row % 9)) for row in range(30)]
    found = prove(inspect_messages(messages, source), messages, source, Config())

    assert mapping(found)["ts"] == "$record"
    assert found.read == 30


def test_seconds_since_a_start_are_a_time_when_there_is_no_other() -> None:
    found = inspect([{"Time": row * 1.5, "V1": row % 7 + 0.5} for row in range(300)])

    assert mapping(found)["unit"] == "s"
    assert mapping(found)["ts"] == "Time"


def test_naive_times_say_that_the_zone_is_open() -> None:
    found = inspect([{"ts": f"2026-01-01 00:{row:02}:00", "a": row % 7 + 0.5} for row in range(60)])

    assert found.proposal.fields["zone"].why.startswith("the times name no zone")


def test_a_time_with_two_meanings_is_a_problem_and_the_remedy_is_named() -> None:
    rows = [{"when": f"0{row % 9 + 1}/02/2026", "a": row % 7 + 0.5} for row in range(30)]
    found = inspect(rows)

    assert found.problem is not None
    assert "day or the month first" in found.problem
    given = parse_config("mapping: {ts: when, format: '%d/%m/%Y'}", "c.yaml")
    assert inspect(rows, given).problem is None


def test_what_a_configuration_sets_is_kept() -> None:
    given = parse_config("mapping: {model: '=mine', prediction: amount}\nkafka: {bootstrap: 'k:9092'}", "c.yaml")
    found = inspect(flat(), given)

    assert mapping(found)["model"] == "=mine"
    assert "prediction" in found.signals
    config = parse_config(found.configuration or "", "x")
    assert config.kafka.bootstrap == "k:9092"


def test_bad_records_are_named_with_their_places() -> None:
    messages = [Message(Origin("f", 0, row), orjson.dumps(each)) for row, each in enumerate(flat(50))]
    messages[7] = messages[7]._replace(data=b"{oops")
    found = prove(inspect_messages(messages, Source("x")), messages, Source("x"), Config())

    (fault,) = found.faults
    assert fault.reason.startswith("not JSON")
    assert fault.places == ["record 8"]
    assert (found.read, found.problem) == (49, None)


def test_frames_without_schemas_are_named() -> None:
    messages = [Message(Origin("t", 0, row, T0), b"\0\0\0\0\x11\x02\x04") for row in range(20)]
    found = inspect_messages(messages, Source("t", is_topic=True))

    assert found.schemas == [17]
    assert found.problem is not None
    assert "schema" in found.problem


def test_a_small_sample_learns_from_its_first_half() -> None:
    config = parse_config(inspect(flat(600)).configuration or "", "x")

    assert config.defaults.learn_events == 300


def test_of_a_longer_log_the_default_suits() -> None:
    found = inspect(flat(600), source=Source("x", is_whole=False))

    assert "learn_events" not in (found.configuration or "")


def test_the_glob_of_a_signal_matches_it_alone() -> None:
    config = parse_config(f"defaults: {{signals: {{exclude: ['{signal_glob('features.a[1]*')}']}}}}", "x")

    assert not config.defaults.signals.selects("features.a[1]*")
    assert config.defaults.signals.selects("features.a1")


NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name.strip() == name)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["NA", "", "2026-01-01", "12,5", "1e5"]), st.lists(st.booleans(), max_size=3),
)  # fmt: skip
KNOWN = st.sampled_from(["id", "model", "version", "score", "prediction", "label", "weight", "tags", "features", "rest",
                         "prob", "y", "key", "created_at", "a.b", "data", "rows", "inputs"])  # fmt: skip


@given(st.lists(st.one_of(NAMES, KNOWN), min_size=1, max_size=6, unique=True), st.data())
def test_what_is_proposed_for_any_flat_table_reads_all_of_its_rows(names: list[str], data: st.DataObject) -> None:
    rows = [
        {**data.draw(st.fixed_dictionaries(dict.fromkeys(names, VALUES))), "timestamp": T0 + row, "level": row / 7}
        for row in range(data.draw(st.integers(2, 12)))
    ]
    found = inspect(rows)

    assert found.configuration is not None, found.problem
    reader = EventReader(parse_config(found.configuration, "x").mapping.event_mapping())
    for number, row in enumerate(rows):
        events, faults = reader.read(orjson.dumps(row), Origin("f", 0, number))
        assert len(events) == 1
        assert not faults
