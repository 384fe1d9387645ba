"""The contract of a ZooKeeper server, through Python's kazoo client.

    pytest contract_test.py             with the server in ZOOKEEPER_CONNECT
    python contract_test.py             the same, without pytest

ZOOKEEPER_CONNECT is host:port (several are separated by commas), of the
embedded server or of Apache ZooKeeper; the same must hold for both. Everything
happens below nodes of its own, which are removed again. Session timeouts of
4 s must be allowed, as they are by default.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadArgumentsError,
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
    UnimplementedError,
)
from kazoo.protocol.serialization import Create2
from kazoo.protocol.states import EventType, WatchedEvent
from kazoo.security import ACL, CREATOR_ALL_ACL, Id, make_acl, make_digest_acl, make_digest_acl_credential

logging.getLogger("kazoo").setLevel(logging.CRITICAL)
HOSTS = os.environ.get("ZOOKEEPER_CONNECT", "127.0.0.1:2181").split("/")[0]
PATIENCE = 15


def start(timeout=10.0, **kw):
    client = KazooClient(hosts=HOSTS, timeout=timeout, **kw)
    client.start(timeout=PATIENCE)
    return client


class Case:
    """A client and a node of one's own."""

    def __enter__(self):
        self.clients = []
        self.zk = self.client()
        self.base = "/gracchus-kazoo-" + uuid.uuid4().hex
        self.zk.create(self.base, b"")
        return self

    def client(self, **kw):
        c = start(**kw)
        self.clients.append(c)
        return c

    def __exit__(self, *_):
        last = start(auth_data=[("digest", "owner:secret")])
        last.delete(self.base, recursive=True)
        for c in self.clients + [last]:
            c.stop()
            c.close()


class Events:
    """A watch function that keeps what it is told."""

    def __init__(self):
        self.seen = []
        self.more = threading.Condition()

    def __call__(self, event: WatchedEvent):
        with self.more:
            self.seen.append((event.type, event.path))
            self.more.notify_all()

    def wait(self, n=1):
        with self.more:
            assert self.more.wait_for(lambda: len(self.seen) >= n, PATIENCE), f"only {self.seen}"
            return self.seen


def raises(kind, f, *args, **kw):
    try:
        got = f(*args, **kw)
    except kind:
        return
    raise AssertionError(f"{f.__name__}{args} returned {got!r}, want {kind.__name__}")


def eventually(what, f):
    end = time.monotonic() + PATIENCE
    while not f():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_create_read_change_delete():
    with Case() as c:
        zk, b = c.zk, c.base
        path, stat = zk.create(b + "/a", b"x", include_data=True)
        assert path == b + "/a" and stat.version == 0 and stat.dataLength == 1 and stat.czxid == stat.mzxid
        raises(NodeExistsError, zk.create, b + "/a")
        raises(NoNodeError, zk.create, b + "/no/parent")
        raises(NoNodeError, zk.get, b + "/none")
        raises(NoNodeError, zk.get_children, b + "/none")
        assert zk.exists(b + "/none") is None
        assert zk.get(b + "/a")[0] == b"x"
        raises(BadVersionError, zk.set, b + "/a", b"y", version=1)
        assert zk.set(b + "/a", b"y", version=0).version == 1
        zk.create(b + "/a/1")
        zk.create(b + "/a/2")
        children, stat = zk.get_children(b + "/a", include_data=True)
        assert sorted(children) == ["1", "2"] and stat.cversion == 2 and stat.numChildren == 2
        raises(NotEmptyError, zk.delete, b + "/a")
        zk.delete(b + "/a/1")
        assert zk.exists(b + "/a").cversion == 3
        raises(BadVersionError, zk.delete, b + "/a/2", version=5)
        zk.delete(b + "/a/2", version=0)
        zk.delete(b + "/a")
        assert zk.exists(b + "/a") is None
        assert zk.sync(b) == b


def test_names_and_numbers():
    with Case() as c:
        zk, b = c.zk, c.base
        for name in ["<default>", "a b", "ünïcode", "..."]:
            assert zk.create(f"{b}/{name}") == f"{b}/{name}"
        made = [zk.create(b + "/s-", sequence=True) for _ in range(3)]
        assert made == [f"{b}/s-{n:010d}" for n in (4, 5, 6)]
        zk.delete(made[-1])
        assert zk.create(b + "/t-", sequence=True, ephemeral=True) == f"{b}/t-{7:010d}"
        raises(BadArgumentsError, zk.create, b + "/\U0001f600")


def test_ephemerals_end_with_their_session():
    with Case() as c:
        other = c.client()
        path, stat = other.create(c.base + "/e", ephemeral=True, include_data=True)
        assert stat.ephemeralOwner == other.client_id[0]
        raises(NoChildrenForEphemeralsError, other.create, path + "/x")
        seen = Events()
        assert c.zk.exists(path, watch=seen) is not None
        other.stop()
        assert seen.wait() == [(EventType.DELETED, path)]
        assert c.zk.exists(path) is None


def test_transactions():
    with Case() as c:
        zk, b = c.zk, c.base
        zk.create(b + "/x", b"old")
        t = zk.transaction()
        t.check(b + "/x", 0)
        t.create(b + "/y", b"1")
        t.set_data(b + "/x", b"new", version=0)
        t.create(b + "/q-", sequence=True)
        t.delete(b + "/y")
        got = t.commit()
        assert got[0] is True and got[1] == b + "/y" and got[2].version == 1 and got[3] == f"{b}/q-{2:010d}" and got[4] is True, got
        before = zk.get_children(b, include_data=True)
        t = zk.transaction()
        t.set_data(b + "/x", b"never")
        t.create(b + "/e", ephemeral=True)
        t.create(b + "/x")
        t.delete(b + "/x")
        got = t.commit()
        kinds = [type(r) for r in got]
        assert kinds == [RolledBackError, RolledBackError, NodeExistsError, RuntimeInconsistency], kinds
        assert zk.get(b + "/x")[0] == b"new" and zk.get_children(b, include_data=True) == before
        t = zk.transaction()
        t.check(b + "/x", 0)
        t.set_data(b + "/q", b"")
        assert isinstance(t.commit()[0], BadVersionError)


def test_one_shot_watches():
    with Case() as c:
        zk, b, other = c.zk, c.base, c.client()
        data, children, absent = Events(), Events(), Events()
        zk.create(b + "/w")
        other.get(b + "/w", watch=data)
        other.get_children(b + "/w", watch=children)
        other.exists(b + "/absent", watch=absent)
        zk.create(b + "/w/x")
        zk.create(b + "/w/y")
        zk.set(b + "/w", b"1")
        zk.set(b + "/w", b"2")
        zk.create(b + "/absent")
        zk.set(b + "/absent", b"")
        assert absent.wait() == [(EventType.CREATED, b + "/absent")]
        other.sync(b)
        assert data.wait() == [(EventType.CHANGED, b + "/w")]
        assert children.wait() == [(EventType.CHILD, b + "/w")]


def test_access_control():
    with Case() as c:
        b = c.base
        owner = c.client(auth_data=[("digest", "owner:secret")])
        owner.create(b + "/mine", b"1", acl=CREATOR_ALL_ACL)
        assert owner.get_acls(b + "/mine")[0] == [make_digest_acl("owner", "secret", all=True)]
        for f, args in [
            (c.zk.get, ()),
            (c.zk.set, (b"",)),
            (c.zk.exists, ()),
            (c.zk.get_children, ()),
            (c.zk.get_acls, ()),
            (c.zk.set_acls, (CREATOR_ALL_ACL,)),
        ]:
            try:
                f(b + "/mine", *args)
            except (NoAuthError, InvalidACLError):
                continue
            raise AssertionError(f"{f.__name__} was allowed")
        raises(NoAuthError, c.zk.create, b + "/mine/x")
        owner.create(b + "/readable", b"r", acl=[make_digest_acl("owner", "secret", all=True), make_acl("world", "anyone", read=True)])
        assert c.zk.get(b + "/readable")[0] == b"r"
        assert "owner:x" in [a.id.id for a in c.zk.get_acls(b + "/readable")[0]]
        raises(NoAuthError, c.zk.set, b + "/readable", b"")
        c.zk.add_auth("digest", "owner:secret")
        c.zk.set(b + "/mine", b"2")
        assert make_digest_acl_credential("owner", "secret") == owner.get_acls(b + "/mine")[0][0].id.id
        for bad in [Id("world", "someone"), Id("nonsense", "x"), Id("digest", "nocolon"), Id("sasl", "x"), Id("x509", "CN=x")]:
            raises(InvalidACLError, c.zk.create, b + "/bad", acl=[ACL(31, bad)])
        raises(InvalidACLError, c.client().create, b + "/bad", acl=CREATOR_ALL_ACL)


def test_time_to_live_is_off():
    # kazoo has no such call; its transport does.
    with Case() as c:

        class CreateTTL(Create2):
            type = 21

            def serialize(self):
                return Create2.serialize(self) + (1000).to_bytes(8, "big")

        result = c.zk.handler.async_result()
        c.zk._call(CreateTTL(c.base + "/ttl", b"", make_open(), 5), result)
        raises(UnimplementedError, result.get, timeout=PATIENCE)


def make_open():
    return [make_acl("world", "anyone", all=True)]


def test_pipelining():
    with Case() as c:
        results = [c.zk.create_async(f"{c.base}/{n:04d}-", b"", sequence=True) for n in range(1000)]
        numbers = [r.get(timeout=PATIENCE)[-10:] for r in results]
        assert numbers == [f"{n:010d}" for n in range(1000)], "not in the order in which they were sent"


def test_reconnect_keeps_session():
    with Case() as c:
        zk, b = c.zk, c.base
        states = []
        other = c.client(timeout=20.0)
        other.add_listener(states.append)
        zk.create(b + "/w")
        other.create(b + "/mine", ephemeral=True)
        seen = Events()
        other.get(b + "/w", watch=seen)
        session = other.client_id
        other._connection._socket.shutdown(socket.SHUT_RDWR)
        eventually("never suspended", lambda: KazooState.SUSPENDED in states)
        zk.set(b + "/w", b"meanwhile")
        eventually("never connected again", lambda: states[-1] == KazooState.CONNECTED)
        assert other.client_id == session
        assert zk.exists(b + "/mine").ephemeralOwner == session[0]
        # kazoo forgets its watches then, and says so, where others set them again.
        assert seen.wait() == [(EventType.NONE, None)]
        assert other.get(b + "/w", watch=seen)[0] == b"meanwhile"
        zk.set(b + "/w", b"afterwards")
        assert seen.wait(2)[1] == (EventType.CHANGED, b + "/w")


def test_session_is_resumed_with_its_password():
    with Case() as c:
        first = c.client(timeout=20.0)
        first.create(c.base + "/e", ephemeral=True)
        session = first.client_id
        second = c.client(timeout=20.0, client_id=session)
        assert second.client_id[0] == session[0]
        assert c.zk.exists(c.base + "/e") is not None
        second.stop()
        eventually("ephemeral outlives its session", lambda: c.zk.exists(c.base + "/e") is None)


def test_a_silent_session_expires():
    with Case() as c:
        path = c.base + "/e"
        seen = Events()
        c.zk.exists(path, watch=seen)
        # A process that ends without a word to the server.
        code = (
            "import os, sys; from kazoo.client import KazooClient\n"
            "zk = KazooClient(hosts=sys.argv[1], timeout=4.0); zk.start(timeout=15)\n"
            "zk.create(sys.argv[2], ephemeral=True)\n"
            "print(zk.client_id[0], zk.client_id[1].hex(), flush=True); os._exit(0)"
        )
        out = subprocess.run([sys.executable, "-c", code, HOSTS, path], check=True, capture_output=True, text=True).stdout.split()
        begin = time.monotonic()
        assert seen.wait() == [(EventType.CREATED, path)]
        assert c.zk.exists(path, watch=seen).ephemeralOwner == int(out[0])
        assert seen.wait(2)[1] == (EventType.DELETED, path)
        assert time.monotonic() - begin > 1.5
        again = c.client(timeout=4.0, client_id=(int(out[0]), bytes.fromhex(out[1])))
        assert again.client_id[0] != int(out[0]), "an expired session was resumed"


def test_four_letter_words():
    with Case() as c:
        version = c.zk.server_version()
        assert version[:2] >= (3, 5), version
        assert c.zk.command(b"ruok") in ("imok", "ruok is not executed because it is not in the whitelist.\n")
        assert "Mode: " in c.zk.command(b"srvr")


def test_recipes():
    """kazoo's lock and election, with two contenders."""
    with Case() as c:
        other = c.client()
        first, second = c.zk.Lock(c.base + "/lock", "1"), other.Lock(c.base + "/lock", "2")
        assert first.acquire(timeout=PATIENCE)
        assert not second.acquire(blocking=False)
        got = threading.Event()
        t = threading.Thread(target=lambda: second.acquire(timeout=PATIENCE) and got.set())
        t.start()
        eventually("never queued", lambda: len(first.contenders()) == 2)
        first.release()
        t.join(PATIENCE)
        assert got.is_set()
        second.release()
        led = []
        for client in (c.zk, other):
            client.Election(c.base + "/election", str(client.client_id[0])).run(lambda: led.append(1))
        assert len(led) == 2


if __name__ == "__main__":
    failed = 0
    for name, f in list(globals().items()):
        if name.startswith("test_"):
            try:
                f()
                print(f"ok    {name}")
            except Exception as e:  # noqa: BLE001 - report, and go on
                failed += 1
                print(f"FAIL  {name}: {type(e).__name__}: {e}")
    sys.exit(1 if failed else 0)
