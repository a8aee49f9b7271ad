"""Scopes, roles and rights: one table, and what follows from it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.console.roles import MEANS, RIGHTS, Right, may, roles_with
from affidavit.console.visitor import Role, Scope

names = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple)
scopes = st.builds(Scope, st.none() | names, st.none() | names)


@pytest.mark.requirement("R13")
def test_each_role_for_people_may_all_that_the_one_before_may() -> None:
    """Viewer, analyst, auditor, administrator: nothing is taken away on the way up."""
    people = [RIGHTS[role] for role in Role if role is not Role.WRITER]
    assert all(less < more for less, more in pairwise(people))


@pytest.mark.requirement("R13")
def test_a_writer_may_add_records_and_nothing_else() -> None:
    """An application's token shows nothing if it is stolen."""
    assert RIGHTS[Role.WRITER] == {Right.INGEST}
    assert roles_with(Right.INGEST) == (Role.WRITER, Role.ADMIN)


@pytest.mark.requirement("R13")
def test_a_viewer_has_no_right_to_content() -> None:
    """Metadata alone."""
    assert not may(Role.VIEWER, Right.CONTENT)
    assert roles_with(Right.CONTENT) == (Role.ANALYST, Role.AUDITOR, Role.ADMIN)


def test_every_right_is_said_in_words() -> None:
    """A refusal says which right is missing."""
    assert set(MEANS) == set(Right)


@pytest.mark.requirement("R13")
@given(scopes, st.sampled_from(["a", "b", "c", None]), st.sampled_from(["a", "b", "c", None]))
def test_a_scope_that_covers_another_sees_what_that_one_sees(
    scope: Scope, department: str | None, tenant: str | None
) -> None:
    """Covering is about what can be seen, and a scope covers itself."""
    assert scope.covers(scope)
    assert Scope().covers(scope)
    if scope.sees(department, tenant):
        assert Scope(scope.departments).sees(department, None)


@given(scopes)
def test_a_scope_is_read_as_it_was_written(scope: Scope) -> None:
    """None and nothing are different things."""
    assert Scope.read(scope.as_document()) == scope


@pytest.mark.requirement("R13")
def test_a_scope_of_no_department_sees_nothing() -> None:
    """An empty limit is not the same as none."""
    assert not Scope(departments=()).sees("a", None)
    assert not Scope(departments=()).everything
    assert Scope().sees(None, None)
