import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tracking.project import a_model, open_context, process_environment
from trivet.errors import Conflict, Invalid, NotFound
from trivet.tracking.registry import Move, Registry

NOW = datetime(2026, 11, 20, 22, 5, tzinfo=UTC)


@pytest.fixture
def registry(context):
    return Registry(context)


def test_versions_count_up_and_name_what_they_are(context, registry):
    first, second = a_model(context, 1), a_model(context, 2)
    one = registry.register("delay", first, why="the first")
    two = registry.register("delay", second.digest)
    assert (one.version, one.digest, one.by, one.why, one.aliases) == (1, first.digest, "ada", "the first", ())
    assert (two.ref, two.artifact) == ("delay@2", second)
    assert abs(datetime.now(UTC) - one.registered) < timedelta(minutes=1)
    assert registry.versions("delay") == [one, two]
    assert repr(registry.promote("delay", 2)) == f"<model delay@2 {second.digest[:12]}, champion>"


def test_a_model_registered_twice_keeps_its_version(context, registry):
    model = a_model(context, 1)
    assert registry.register("delay", model) == registry.register("delay", model)
    assert registry.register("other", model).version == 1
    assert registry.names() == ["delay", "other"]


def test_references_by_alias_version_and_name(context, registry):
    for number in (1, 2, 3):
        registry.register("delay", a_model(context, number))
    registry.promote("delay", 1)
    registry.promote("delay", 2, "challenger")
    assert [registry.get(ref).version for ref in ("delay@champion", "delay@challenger", "delay@2", "delay")] == [
        1,
        2,
        2,
        3,
    ]
    registry.promote("delay", "2", why="better in winter")
    assert registry.get("delay@champion").aliases == ("challenger", "champion")
    assert registry.get("delay@1").aliases == ()


def test_the_history_says_who_moved_what_when_and_why(context, registry):
    registry.register("delay", a_model(context, 1), "first")
    registry.register("delay", a_model(context, 2))
    registry.promote("delay", 1, why="the only one")
    registry.promote("delay", 2, why="better in winter")
    registry.withdraw("delay", "champion", why="wrong in spring")
    moves = registry.history("delay")
    assert [(move.label, move.version, move.before, move.why) for move in moves] == [
        ("1", 1, None, "first"),
        ("2", 2, None, ""),
        ("champion", 1, None, "the only one"),
        ("champion", 2, 1, "better in winter"),
        ("champion", None, 2, "wrong in spring"),
    ]
    assert [str(move).partition(" ada ")[2] for move in moves] == [
        "registered version 1: first",
        "registered version 2",
        "moved champion to version 1: the only one",
        "moved champion to version 2 from 1: better in winter",
        "took champion from version 2: wrong in spring",
    ]
    assert str(Move(NOW, "ada", "1", 1, None, "")) == "2026-11-20 22:05 ada registered version 1"
    assert registry.get("delay").aliases == ()


steps = st.lists(
    st.tuples(
        st.sampled_from(["register", "promote", "withdraw"]), st.integers(1, 4), st.sampled_from(["champion", "b"])
    ),
    max_size=15,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_any_story_agrees_with_two_dictionaries(memory, steps):
    context = type(memory)(**{**vars(memory), "ledger": type(memory.ledger)()})
    registry = Registry(context)
    versions: dict[int, str] = {}
    aliases: dict[str, int] = {}
    for verb, number, alias in steps:
        digest = a_model(context, number).digest
        if verb == "register":
            if digest not in versions.values():
                versions[len(versions) + 1] = digest
            registry.register("delay", digest)
        elif verb == "promote" and number in versions:
            registry.promote("delay", number, alias)
            aliases[alias] = number
        elif verb == "withdraw" and alias in aliases:
            registry.withdraw("delay", alias)
            del aliases[alias]
        else:
            with pytest.raises(NotFound):
                registry.promote("delay", number, alias) if verb == "promote" else registry.withdraw("delay", alias)
    assert registry.names() == ["delay"] * bool(versions)
    if versions:
        assert {version.version: version.digest for version in registry.versions("delay")} == versions
        assert {label: v.version for v in registry.versions("delay") for label in v.aliases} == aliases


def test_only_models_are_registered(context, registry):
    with pytest.raises(Invalid, match=r"table:[0-9a-f]{12} is a table; only models have versions"):
        registry.register("delay", a_model(context, 1, kind="table"))
    with pytest.raises(NotFound):
        registry.register("delay", "0" * 64)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "délai", "🛬", "a b", "a@1", ".", "-x", "a" * 129, None, "a\n"])
def test_bad_names_are_sentences(context, registry, name):
    with pytest.raises(Invalid, match="cannot name a model"):
        registry.register(name, a_model(context, 1))


@pytest.mark.parametrize("alias", ["", "2", "a/b", "2026-10-01", "🏆", "a b"])
def test_bad_aliases_are_sentences(context, registry, alias):
    registry.register("delay", a_model(context, 1))
    with pytest.raises(Invalid, match="cannot be an alias"):
        registry.promote("delay", 1, alias)


def test_what_is_not_there_names_the_nearest(context, registry):
    registry.register("delay", a_model(context, 1))
    registry.promote("delay", 1)
    with pytest.raises(NotFound, match=r"There is no model 'dealy'\. Did you mean 'delay'\?"):
        registry.get("dealy@champion")
    with pytest.raises(NotFound, match=r"There is no model version 'delay@champoin'\. Did you mean 'delay@champion'"):
        registry.get("delay@champoin")
    with pytest.raises(NotFound, match="delay@7"):
        registry.promote("delay", 7)
    with pytest.raises(Invalid, match="'champion' is not a version number"):
        registry.promote("delay", "champion", "challenger")
    for name in ("*", "de*", "none"):
        with pytest.raises(NotFound):
            registry.versions(name)
        with pytest.raises(NotFound):
            registry.history(name)
    with pytest.raises(NotFound, match="delay@challenger"):
        registry.withdraw("delay", "challenger")


def test_of_two_who_move_an_alias_at_once_the_second_is_told(context, registry):
    for number in (1, 2, 3):
        registry.register("delay", a_model(context, number))
    registry.promote("delay", 1)
    registry.promote("delay", 2, expect=1)
    with pytest.raises(Conflict):
        registry.promote("delay", 3, expect=1)
    assert registry.get("delay@champion").version == 2


def test_eight_processes_at_once_each_get_their_own_version(root):
    context = open_context(root)
    script = """
import sys
from pathlib import Path
from tests.tracking.project import a_model, open_context
from trivet.tracking.registry import Registry
context = open_context(Path.cwd())
sys.stdin.readline()
for number in range(5):
    print(Registry(context).register("delay", a_model(context, f"{sys.argv[1]}-{number}")).version)
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number)],
            cwd=root,
            env=process_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=120) for worker in workers]
    assert [error for _, error in answers] == [""] * 8
    assert sorted(int(line) for told, _ in answers for line in told.split()) == list(range(1, 41))
    assert [version.version for version in Registry(context).versions("delay")] == list(range(1, 41))
    context.ledger.close()
