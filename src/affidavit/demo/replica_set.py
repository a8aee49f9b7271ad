"""A replica set of several ``mongod`` processes on one machine, to see a primary die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from affidavit.demo.mongod import Mongod, initiate_set, wait_for_primary

if TYPE_CHECKING:
    from types import TracebackType


class ReplicaSet:
    """Some nodes of one replica set; make it with :meth:`start`.

    Attributes:
        nodes: the servers, in the order of the set's configuration.
        name: the name of the set.
    """

    def __init__(self, name: str, nodes: list[Mongod]) -> None:
        """Use :meth:`start` instead."""
        self.name = name
        self.nodes = nodes

    @classmethod
    def start(cls, n: int = 3, *, name: str = "rs0", election_timeout_ms: int = 2000) -> ReplicaSet:
        """Start ``n`` nodes, and wait until one of them takes writes.

        The servers' own election timeout is 10 s; the shorter one here is for short tests.

        Raises:
            MongodNotFound: there is no binary.
            MongodFailed: a node does not come up, or no primary is elected.
        """
        nodes: list[Mongod] = []
        try:
            for _ in range(n):
                nodes.append(Mongod.start(replica_set=name, initiate=False))  # noqa: PERF401 - kept one by one, so that a failure stops the earlier ones
            initiate_set(nodes, election_timeout_ms=election_timeout_ms)
        except BaseException:
            for node in nodes:
                node.stop()
            raise
        return cls(name, nodes)

    @property
    def uri(self) -> str:
        """A URI that names all the nodes."""
        return self.database_uri("")

    def database_uri(self, database: str) -> str:
        """The URI with a default database."""
        hosts = ",".join(node.address for node in self.nodes)
        return f"mongodb://{hosts}/{database}?replicaSet={self.name}"

    def primary(self, timeout_s: float = 60.0) -> Mongod:
        """The node that takes writes now, waited for.

        Raises:
            MongodFailed: there is none within ``timeout_s``.
        """
        return wait_for_primary(self.nodes, timeout_s)

    def stop(self) -> None:
        """Stop every node and remove their data."""
        for node in self.nodes:
            # Nothing needs to survive, and a clean end of a primary waits for the others.
            node.kill()
            node.stop()

    def __enter__(self) -> Self:
        """The running set."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()
