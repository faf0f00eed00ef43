"""`driftline resume`: lets workers go on when Kafka no longer has the logs that they read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from driftline.stream.cli.terminal import (
    EXIT_FOUND,
    AsJson,
    CommandError,
    hint,
    out,
    print_json,
    query_redis,
    read_config,
    reporting_kafka_errors,
)
from driftline.stream.config.sections import Config

if TYPE_CHECKING:
    from driftline.stream.kafka.logs import ClusterFacts
    from driftline.stream.state.client import Client
    from driftline.stream.worker.resuming import Move, Place, Situation

app = typer.Typer()


@app.command(
    name="resume",
    epilog="Examples:\n\ndriftline resume -c driftline.yaml\n\ndriftline resume -c driftline.yaml --at end --yes",
)
def resume_command(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Configuration file (YAML).", exists=True, dir_okay=False)
    ],
    at: Annotated[
        Literal["begin", "end"], typer.Option(help="Where to go on in a log that is not the one that was read.")
    ] = "begin",
    new_cluster: Annotated[
        bool, typer.Option("--new-cluster", help="The topics have moved to this Kafka cluster from another one.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Otherwise only say what would be done.")] = False,
    json: AsJson = False,
) -> None:
    """Let workers go on after a topic was created again, cut or restored, or the topics moved to another cluster.

    Says for each partition what is lost or counted again. All workers of the group must be stopped.

    With --yes, stored positions move to where the logs begin or end; models' states and open incidents stay.

    Exit code 0: nothing has to move, or it has moved. 1: something has to move; see --yes. 2: failed.
    """
    settings = read_config(config)
    situation = _situation(settings, new_cluster)
    moves = situation.moves(at)
    is_needed, group = bool(moves) or situation.is_refused, settings.worker.group
    if not json:
        for move in moves:
            out.print(Text(str(move)), soft_wrap=True)
    if is_needed and yes:
        _apply(settings, situation, moves)
    if json:
        print_json({"group": group, "is_needed": is_needed, "is_done": is_needed and yes, "moves": _rows(moves)})
    if is_needed and not yes:
        hint("nothing was changed; to do this, run the command again with --yes")
        raise typer.Exit(EXIT_FOUND)
    if not json:
        can_go_on = "can go on: no log is shorter or another one than was read"
        out.print(Text(f"workers of {group} {'can be started' if is_needed else can_go_on}"))


def _rows(moves: list[Move]) -> list[dict[str, Any]]:
    return [each._asdict() | {"log": {"begin": each.log.begin, "end": each.log.end}} for each in moves]


def _situation(settings: Config, new_cluster: bool) -> Situation:
    from driftline.stream.state.store import Store
    from driftline.stream.worker.continuity import LogChangedError, check_group, check_names, group_facts
    from driftline.stream.worker.resuming import Situation

    topics, group = settings.topics, settings.worker.group
    facts = _facts(settings)
    present = group_facts(topics, facts)

    async def stored(client: Client) -> tuple[dict[str, str], dict[Place, int], dict[Place, int]]:
        store = Store(client, group)
        return await store.bound(), await store.positions(), await store.last_seals()

    bound, positions, last_seals = query_redis(settings.redis, stored)
    try:
        check_names(group, bound, present)
        if not new_cluster:
            # What may move is no reason to refuse: ids of topics, and the name of that of labels.
            fixed = {name: fact for name, fact in bound.items() if not name.endswith(".id") and name != "topics.labels"}
            check_group(group, fixed, present)
    except LogChangedError as error:
        raise CommandError(str(error)) from error
    places = [(name, each) for name in _read(settings) for each in range(facts.topics[name].partitions)]
    with reporting_kafka_errors():
        from driftline.stream.kafka.logs import read_logs

        logs = read_logs(settings.kafka, places)
        return Situation(topics, bound, present, positions, logs, new_cluster, last_seals)


def _read(settings: Config) -> list[str]:
    """The topics whose offsets are in Redis."""
    topics = settings.topics
    return sorted({topics.predictions, topics.panes, *([topics.labels] if settings.labelled_by("topic") else [])})


def _facts(settings: Config) -> ClusterFacts:
    """What Kafka has. Raises CommandError if a topic is missing or workers of the group are running."""
    group = settings.worker.group
    with reporting_kafka_errors():
        from driftline.stream.kafka.admin import group_members, missing_topics, open_admin
        from driftline.stream.kafka.logs import cluster_facts

        with open_admin(settings.kafka) as admin:
            wanted = _read(settings)
            if missing := missing_topics(admin, wanted):
                raise CommandError("; ".join(missing))
            if members := group_members(admin, group):
                raise CommandError(
                    f"{members} workers of group {group} are running: stop them all first. Kafka counts one that was "
                    f"killed for another {settings.worker.session_seconds:g} s (worker.session_seconds)"
                )
            return cluster_facts(admin, set(wanted))


def _apply(settings: Config, situation: Situation, moves: list[Move]) -> None:
    from driftline.stream.state.store import Store
    from driftline.stream.worker.resuming import move

    query_redis(settings.redis, lambda client: move(Store(client, settings.worker.group), situation, moves))
    with reporting_kafka_errors():
        from driftline.stream.kafka.admin import commit_offsets, open_admin

        with open_admin(settings.kafka) as admin:
            existing = {(each.topic, each.partition): each.to for each in moves if each.log.end or each.to}
            commit_offsets(admin, settings.worker.group, existing)
