"""Whatever is killed, and whenever: the catalogue answers as before or as after, never between.

A writer's process is killed at every point that `catalogue_kills` knows of each operation; at one of each kind the server
is, with all of its processes, and starts again. What had been told to be committed is there, what had not is not, and the
operation done again ends as it would have.
"""

from collections.abc import Callable, Iterator

import pytest

from catalogue_kills import OPERATIONS, Answers, Operations, Point, Scene, Stage, operations
from earmark.local.database import create_database
from earmark.postgres import migrate
from postgres_servers import Server, server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as running:
        migrate(create_database(running.dsn, "template_earmark"))
        yield running


@pytest.fixture(scope="module")
def _operations() -> Iterator[Operations]:
    with operations() as running:
        yield running


@pytest.fixture(scope="module")
def scenes(running: Server, _operations: Operations) -> Callable[[str], Scene]:
    made: dict[str, Scene] = {}

    def of(name: str) -> Scene:
        if name not in made:
            made[name] = Scene.of(running, _operations, name)
        return made[name]

    return of


def judge(scene: Scene, point: Point, answers: Answers) -> None:
    if point.what == "inside the commit":
        assert answers in (scene.before, scene.after), point
    else:
        assert answers == (scene.after if point.committed else scene.before), point


# ------------------------------------------------------------------------------------------------ the writer


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_writer_may_be_killed_anywhere(scenes: Callable[[str], Scene], name: str) -> None:
    scene, number, point = scenes(name), 0, None
    while point or not number:
        with scene.stage() as stage:
            number += 1
            while (point := kill_at(stage, number)) and not (point.committed or point.what == "before the commit"):
                number += 1  # the next one does again what was undone, on what this one has left behind
            stage.do_it()
            assert stage.answers() == stage.fresh_answers() == scene.after, (number, point)
    assert number > 10


def kill_at(stage: Stage, number: int) -> Point | None:
    """None: there are not so many points, and the operation has come to its end."""
    operation = stage.start(stop_at=number)
    if operation.point is None:
        return None
    if operation.point.what == "inside the copy":
        stage.wait_for_copy()
    if is_turning(operation.point) and operation.point.what != "inside the commit":  # where the next moment may be another one
        judge(stage.scene, operation.point, stage.answers())
    operation.kill()
    stage.wait_for_end()
    judge(stage.scene, operation.point, stage.fresh_answers() if is_turning(operation.point) else stage.answers())
    return operation.point


def is_turning(point: Point) -> bool:
    return point.committed or point.what in ("inside the copy", "at the end of the copy", "before the commit")


# ------------------------------------------------------------------------------------------------ the server


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "pack and stop"])
def test_the_server_may_be_killed(scenes: Callable[[str], Scene], running: Server, name: str) -> None:
    scene = scenes(name)
    passed = scene.points()
    assert ("inside the copy" in passed) == (name not in ("add", "replace", "remove"))
    for kinds in (("inside the copy", "before the commit", "inside the commit"), ("after the commit",)):
        with scene.stage() as stage:
            for kind in kinds:
                if kind in passed:
                    crash_at(stage, running, passed.index(kind) + 1)
            stage.do_it()
            assert stage.answers() == stage.fresh_answers() == scene.after, kinds


def crash_at(stage: Stage, running: Server, number: int) -> None:
    operation = stage.start(stop_at=number)
    point = operation.point
    assert point
    if point.what == "inside the copy":
        stage.wait_for_copy()
    running.crash()
    running.start()
    stage.pool.check()  # or it would find out later, and wait a second
    judge(stage.scene, point, stage.answers())
    judge(stage.scene, point, stage.fresh_answers())
    if point.what == "inside the commit":
        operation.kill()  # it cannot go on
    else:  # it learns of it, in a sentence, unless it was done
        failed = operation.go_on()
        assert failed.startswith("DatabaseUnavailable: PostgreSQL at ") if not point.committed else not failed, (point, failed)
