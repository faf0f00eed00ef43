"""Labels joined to predictions: late, doubled, corrected, in any order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.stream.outcomes.join import join
from driftline.stream.outcomes.rows import Labels, Rows, as_class
from tests.harness.outcomes import START, STEP, outcomes

DAY = 86_400_000


def labels(*pairs: tuple[str, int, str], timed: bool = True) -> Labels:
    ids, ts, label = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Labels(list(ids), np.array(ts, np.int64), list(label), timed)


def bare(n: int) -> Rows:
    rows = outcomes(n, 1)
    return rows.with_labels([None] * n)


def test_the_latest_correction_counts_and_what_became_of_the_others_is_counted() -> None:
    rows, joined = join(
        bare(4),
        labels(
            ("p-0", START + 3 * DAY, "fine"), ("p-0", START + 2 * DAY, "fraud"), ("p-1", START + STEP + DAY, "fine"),
            ("p-1", START + STEP + 2 * DAY, "fine"), ("p-9", START, "fraud"),
        ),
    )  # fmt: skip

    assert rows.label == ["fine", "fine", None, None]
    assert (joined.labels, joined.matched, joined.corrected, joined.repeated, joined.unmatched) == (5, 2, 1, 1, 1)
    assert joined.delay == (2 * DAY, 2 * DAY)


def test_of_predictions_with_one_id_the_earliest_is_kept() -> None:
    rows = bare(3)
    doubled = Rows(["a", "a", "b"], np.array([5, 3, 4]), rows.prediction, rows.score, rows.label)
    kept, joined = join(doubled, labels(("a", 9, "fine")))

    assert kept.ts.tolist() == [3, 4]
    assert kept.label == ["fine", None]
    assert joined.doubled == 1


def test_without_times_nothing_is_said_of_delays() -> None:
    _, joined = join(bare(2), labels(("p-0", 0, "fine"), ("p-0", 1, "fraud"), timed=False))

    assert joined.delay is None


some_labels = st.lists(
    st.tuples(st.sampled_from(["p-0", "p-1", "p-2", "p-x"]), st.integers(0, 4), st.sampled_from(["fine", "fraud"])),
    max_size=12,
)


@given(some_labels, st.randoms(use_true_random=False))
def test_labels_in_any_order_give_the_same_join(given_labels, random) -> None:
    shuffled = random.sample(given_labels, len(given_labels))
    first, second = join(bare(3), labels(*given_labels)), join(bare(3), labels(*shuffled))

    assert first[0].label == second[0].label
    assert first[1] == second[1]


def test_a_class_is_spelt_alike_by_whoever_writes_it() -> None:
    assert [as_class(each) for each in ("1", "1.0", "-3.0", "01", "4.2", "yes", None)] == [
        "1", "1", "-3", "01", "4.2", "yes", None,
    ]  # fmt: skip
