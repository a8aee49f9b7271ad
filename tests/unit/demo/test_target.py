"""Where the demo's records go, and how its outage is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymongo
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from affidavit.demo.target import (
    DATABASE,
    DatabaseUnreachable,
    GivenServer,
    OwnServer,
    shown,
    with_database,
)
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.demo.mongod import Mongod


@pytest.mark.parametrize(
    ("uri", "full"),
    [
        ("mongodb://h", "mongodb://h/d"),
        ("mongodb://h:1/?w=1", "mongodb://h:1/d?w=1"),
        ("mongodb://h:1/own?w=1", "mongodb://h:1/own?w=1"),
        ("mongodb://u:p%2F@h,i/", "mongodb://u:p%2F@h,i/d?authSource=admin"),
        ("mongodb://u:p@h/?authSource=x", "mongodb://u:p@h/d?authSource=x"),
    ],
)
def test_a_uri_without_a_database_gets_one(uri: str, full: str) -> None:
    """What the URI says stays, and a login is looked up where it was before."""
    assert with_database(uri, "d") == full


def test_a_shown_uri_has_no_password() -> None:
    """The user's name stays."""
    assert shown("mongodb://ana:s3cret@h:1/d?w=1") == "mongodb://ana:***@h:1/d?w=1"
    assert shown("mongodb://h:1/d") == "mongodb://h:1/d"


def test_the_line_to_a_given_server_is_cut_and_joined(private_mongod: Mongod) -> None:
    """The application loses its database for a while; the server never notices."""
    target = GivenServer(private_mongod.uri)
    pid = private_mongod.pid
    try:
        with MongoClient(target.uri) as client:
            client.get_default_database().records.insert_one({"n": 1})
            target.cut()
            with pymongo.timeout(0.5), pytest.raises(PyMongoError):
                client.admin.command("ping")
            assert target.database().records.count_documents({}) == 1
            target.restore()
            client.get_default_database().records.insert_one({"n": 2})
            assert target.database().records.count_documents({}) == 2
            assert target.database().name == DATABASE
            assert private_mongod.pid == pid
    finally:
        target.stop()


def test_a_set_of_one_is_reached_through_the_proxy_too(replica_set: Mongod) -> None:
    """The client does not look for the set's own address behind the proxy's back."""
    target = GivenServer(replica_set.database_uri("affidavit_test_target"))
    try:
        with MongoClient(target.uri) as client:
            assert client.admin.command("ping")["ok"] == 1
            target.cut()
            with pymongo.timeout(0.5), pytest.raises(PyMongoError):
                client.admin.command("ping")
    finally:
        target.stop()


def test_no_outage_is_promised_where_no_proxy_can_stand(replica_set: Mongod) -> None:
    """With several hosts the demo says nothing of an outage, and makes none."""
    target = GivenServer(f"mongodb://{replica_set.address},127.0.0.1:1/?replicaSet=rs0")
    try:
        assert target.outage == ""
        target.cut()
        assert target.database().command("ping")["ok"] == 1
    finally:
        target.stop()


def test_a_server_that_does_not_answer_is_reported_without_its_password() -> None:
    """The text says what to do."""
    with pytest.raises(DatabaseUnreachable, match="Start the server") as caught:
        GivenServer("mongodb://ana:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=100")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://user:hunter2@h:x/wadm",
        "mongodb://user:hunter2@h:99999/wadm",
        "mongodb+srv://user:hunter2@h/wadm",
        "mongodb://user:hunter2@h/wa dm",
    ],
)
def test_a_uri_that_cannot_be_used_is_one_sentence_after_another(uri: str) -> None:
    """The driver's own words may end with a full stop; and no password."""
    with pytest.raises(ConfigError) as caught:
        GivenServer(uri)
    assert ".." not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_own_server_is_killed_and_comes_back() -> None:
    """Its address stays the same."""
    target = OwnServer()
    try:
        target.database().records.insert_one({})
        target.cut()
        target.restore()
        assert target.database().records.count_documents({}) <= 1
    finally:
        target.stop()
