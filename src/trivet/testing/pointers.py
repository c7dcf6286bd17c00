"""What every store must do with names: the half of ``trivet.testing.ledger.LedgerContract`` about pointers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC

import pytest

from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import Artifact, Ledger
from trivet.ledger.naming import escape, split_name, unescape
from trivet.testing.records import an_artifact

__all__ = ["PointersContract"]

NAME = "model/delay"


class PointersContract:
    """Each method examines one promise; its docstring says which."""

    @pytest.fixture
    def store(self) -> Iterator[Ledger]:
        """An empty store."""
        raise NotImplementedError("Supply the fixture `store` in the subclass.")

    @pytest.fixture
    def models(self, store: Ledger) -> list[Artifact]:
        """Three recorded artifacts."""
        models = [an_artifact(number, kind="model") for number in range(3)]
        store.write(*models)
        return models

    def test_versions_count_from_one(self, store: Ledger, models: list[Artifact]) -> None:
        """Each artifact gets the next number; one that has a version keeps it."""
        pointers = [store.point(NAME, None, model.digest, by="ada", why="new") for model in models]
        assert [one.label for one in pointers] == ["1", "2", "3"]
        assert store.point(NAME, None, models[1].digest, by="bob") == pointers[1]
        assert list(store.pointers(name=NAME)) == pointers
        assert pointers[0].at.tzinfo == UTC
        assert (pointers[0].by, pointers[0].why, pointers[0].digest) == ("ada", "new", models[0].digest)

    def test_each_name_counts_for_itself(self, store: Ledger, models: list[Artifact]) -> None:
        """One artifact may be version 1 of several names."""
        names = [NAME, "model/arrival", "feature_view/delay"]
        assert [store.point(name, None, models[0].digest, by="ada").label for name in names] == ["1", "1", "1"]
        assert [one.name for one in store.pointers(digest=models[0].digest)] == sorted(names)

    def test_a_version_never_moves(self, store: Ledger, models: list[Artifact]) -> None:
        """Neither to another artifact nor away; to say it again is no error."""
        first = store.point(NAME, "7", models[0].digest, by="ada")
        assert store.point(NAME, "7", models[0].digest, by="bob", why="again") == first
        for digest in (models[1].digest, None):
            with pytest.raises(Conflict, match="for good"):
                store.point(NAME, "7", digest, by="bob")
        assert list(store.pointers(history=True)) == [first]
        assert store.point(NAME, None, models[1].digest, by="ada").label == "8"

    def test_versions_are_numbers_not_texts(self, store: Ledger, models: list[Artifact]) -> None:
        """After 9 comes 10, and after 10 comes 11."""
        for label, model in zip(("9", "10"), models, strict=False):
            store.point(NAME, label, model.digest, by="ada")
        assert store.point(NAME, None, models[2].digest, by="ada").label == "11"

    def test_an_alias_moves_and_leaves_a_history(self, store: Ledger, models: list[Artifact]) -> None:
        """Where it points now, and who pointed it where before, in order."""
        moves = [store.point(NAME, "champion", model.digest, by="ada", why=str(model.size)) for model in models]
        assert list(store.pointers(name=NAME)) == moves[-1:]
        assert list(store.pointers(name=NAME, history=True)) == moves
        assert list(store.pointers(digest=models[0].digest)) == []
        assert list(store.pointers(digest=models[0].digest, history=True)) == moves[:1]

    def test_an_alias_taken_away(self, store: Ledger, models: list[Artifact]) -> None:
        """It appears only in the history, and may come back."""
        store.point(NAME, "champion", models[0].digest, by="ada")
        gone = store.point(NAME, "champion", None, by="bob", why="too old")
        assert gone.digest is None
        assert list(store.pointers()) == []
        assert list(store.pointers(history=True))[-1] == gone
        with pytest.raises(NotFound, match="nothing to take away"):
            store.point(NAME, "champion", None, by="bob")
        back = store.point(NAME, "champion", models[0].digest, by="ada")
        assert list(store.pointers()) == [back]
        assert len(store.pointers(history=True)) == 3

    def test_expect(self, store: Ledger, models: list[Artifact]) -> None:
        """An alias that is not where the caller saw it stays where it is."""
        first, second, third = (model.digest for model in models)
        with pytest.raises(Conflict, match="stands nowhere"):
            store.point(NAME, "champion", second, by="ada", expect=first)
        store.point(NAME, "champion", first, by="ada")
        store.point(NAME, "champion", second, by="ada", expect=first)
        with pytest.raises(Conflict, match="someone else"):
            store.point(NAME, "champion", third, by="bob", expect=first)
        assert [one.digest for one in store.pointers()] == [second]
        store.point(NAME, "champion", None, by="ada", expect=second)
        assert list(store.pointers()) == []

    def test_expect_nothing(self, store: Ledger, models: list[Artifact]) -> None:
        """``expect=""`` puts a label only where none stands, also where one was taken away."""
        first, second = (model.digest for model in models[:2])
        store.point(NAME, "holder", first, by="ada", expect="")
        with pytest.raises(Conflict, match="not nowhere as expected"):
            store.point(NAME, "holder", second, by="bob", expect="")
        store.point(NAME, "holder", None, by="ada")
        store.point(NAME, "holder", second, by="bob", expect="")
        assert [one.digest for one in store.pointers()] == [second]

    @pytest.mark.parametrize(
        "text", ["a/b:c@d*e%", "'; drop", "👨‍👩‍👧‍👦", " ends ", "tab\t\n", "half \ud83d", "x" * 500, "🛫" * 500]
    )
    def test_any_text_as_a_name(self, store: Ledger, models: list[Artifact], text: str) -> None:
        """Escaped, it stands under a name and is found again."""
        name = f"experiment/{escape(text)}"
        pointer = store.point(name, "holder", models[0].digest, by="ada", expect="")
        assert list(store.pointers(name=name)) == list(store.pointers(name="experiment/*")) == [pointer]
        assert unescape(split_name(pointer.name)[1]) == text

    def test_names_of_a_kind(self, store: Ledger, models: list[Artifact]) -> None:
        """``KIND/*`` asks for all names of the kind, sorted, and for no other kind's."""
        for name in ("model/b", "model/a", "models/c", "model_x/d", "feature_view/e", "model/Zoë 🛫"):
            store.point(name, "live", models[0].digest, by="ada")
        assert [one.name for one in store.pointers(name="model/*")] == ["model/Zoë 🛫", "model/a", "model/b"]
        assert [one.name for one in store.pointers(name="model/%")] == []
        assert len(store.pointers()) == 6

    def test_what_is_not_recorded_cannot_be_pointed_at(self, store: Ledger) -> None:
        """Nothing points into the void."""
        for label in (None, "1", "champion"):
            with pytest.raises(NotFound, match="no artifact"):
                store.point(NAME, label, "f" * 64, by="ada")
        assert list(store.pointers(history=True)) == []

    @pytest.mark.parametrize(
        "name",
        ["delay", "/delay", "model/", "Model/x", "model/a/b", "model/a@b", "model/a:b", "model/*", "model/ a", "m\0/a"],
    )
    def test_what_is_no_name_is_refused(self, store: Ledger, models: list[Artifact], name: str) -> None:
        """``KIND/NAME`` and nothing else."""
        with pytest.raises(Invalid, match="KIND/NAME"):
            store.point(name, "champion", models[0].digest, by="ada")

    @pytest.mark.parametrize(
        "label", ["", "0", "01", "1.5", "-1", "٣", "a b", "a/b", "@", "2026-10-01", "x" * 200, "9" * 30]
    )
    def test_what_is_no_label_is_refused(self, store: Ledger, models: list[Artifact], label: str) -> None:
        """A version number as it is written, or an alias."""
        with pytest.raises(Invalid, match="not a label"):
            store.point(NAME, label, models[0].digest, by="ada")

    def test_a_version_of_nothing_is_refused(self, store: Ledger) -> None:
        """A new version needs an artifact."""
        with pytest.raises(Invalid, match="needs an artifact"):
            store.point(NAME, None, None, by="ada")

    def test_threads_each_get_their_own_version(self, store: Ledger) -> None:
        """Sixteen artifacts registered at once: versions 1 to 16, each once."""
        models = [an_artifact(number) for number in range(16)]
        store.write(*models)
        with ThreadPoolExecutor(8) as pool:
            given = list(pool.map(lambda one: store.point(NAME, None, one.digest, by="ada").label, models))
        assert sorted(given, key=int) == [str(number) for number in range(1, 17)]

    def test_threads_register_one_artifact_once(self, store: Ledger, models: list[Artifact]) -> None:
        """The same artifact from everywhere: one version."""
        with ThreadPoolExecutor(8) as pool:
            given = pool.map(lambda _: store.point(NAME, None, models[0].digest, by="ada").label, range(8))
            assert set(given) == {"1"}

    def test_of_threads_that_expect_the_same_one_wins(self, store: Ledger) -> None:
        """Compare and set: the others are told."""
        models = [an_artifact(number) for number in range(9)]
        store.write(*models)
        store.point(NAME, "champion", models[0].digest, by="ada")

        def promote(model: Artifact) -> bool:
            try:
                store.point(NAME, "champion", model.digest, by="ada", expect=models[0].digest)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(promote, models[1:])) == 1
        assert len(store.pointers(history=True)) == 2
