"""The scenario that the package comment of tests/compat describes, through redis-py.

Arguments: single|cluster PREFIX ADDRESS...
"""
import signal
import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

PIPELINED = 500


def want(step, got, expected):
    if got != expected:
        raise SystemExit(f"{step}: got {got!r}, want {expected!r}")


def refused(step, call, message):
    try:
        reply = call()
    except redis.exceptions.ResponseError as e:
        # redis-py takes the leading ERR off.
        if not str(e).startswith(message):
            raise SystemExit(f"{step}: the error is {e}, want {message}")
        return
    raise SystemExit(f"{step}: {reply!r} instead of an error")


def scenario(c, cluster, prefix):
    key = lambda name: f"{prefix}:{name}"
    # Commands that redis-py does not know have to be told where to go in a cluster.
    anywhere = {"target_nodes": RedisCluster.RANDOM} if cluster else {}
    other = lambda *args: c.execute_command(*args, **anywhere)

    want("PING", c.ping(), True)
    every = bytes(range(256))
    want("SET", c.set(key("bytes"), every), True)
    want("GET of all bytes", c.get(key("bytes")), every)
    want("APPEND", c.append(key("bytes"), "!"), 257)
    want("INCRBY", c.incrby(key("number"), 41), 41)
    want("INCR", c.incr(key("number")), 42)
    want("SETNX of what exists", c.setnx(key("number"), "no"), False)
    a, b, none = key("{tag}a"), key("{tag}b"), key("{tag}none")
    want("MSET", c.mset({a: "1", b: "2"}), True)
    want("MGET", c.mget(a, none, b), [b"1", None, b"2"])
    want("DEL", c.delete(a, b), 2)
    want("GET of what was deleted", c.get(a), None)

    want("SET PX", c.set(key("mortal"), "x", px=300), True)
    left = c.pttl(key("mortal"))
    want("PTTL", 0 < left <= 300, True)
    while c.get(key("mortal")) is not None:
        time.sleep(0.01)
    want("EXPIRE", c.expire(key("number"), 3600), True)
    want("PERSIST", c.persist(key("number")), True)
    want("TTL", c.ttl(key("number")), -1)

    with c.pipeline() if cluster else c.pipeline(transaction=False) as p:
        for i in range(PIPELINED):
            p.set(key(f"many:{i}"), i)
        want("a pipeline of SET", p.execute(), [True] * PIPELINED)
        for i in range(PIPELINED):
            p.get(key(f"many:{i}"))
        want("a pipeline of GET", p.execute(), [b"%d" % i for i in range(PIPELINED)])
    found = set(c.scan_iter(match=key("many:*"), count=100))
    want("the keys of SCAN", found, {key(f"many:{i}").encode() for i in range(PIPELINED)})

    number = key("number")
    want("QUORUM CALL of a write", other("QUORUM", "CALL", "-", "ALL", "SET", number, "43"), b"OK")
    want("QUORUM CALL of a read", other("QUORUM", "CALL", "ALL", "-", "GET", number), b"43")
    settings = other("QUORUM")
    want("QUORUM", settings[settings.index(b"r") + 1], b"quorum")
    want("QUORUM KEY", b"slot" in other("QUORUM", "KEY", number), True)
    refused("QUORUM CALL of a level that cannot be met",
            lambda: other("QUORUM", "CALL", "7", "-", "GET", number), "level '7' cannot be met")

    conflict = key("conflict")
    other("VCLOCK", "SET", conflict, "", "a")
    other("VCLOCK", "SET", conflict, "", "b")
    context, siblings = other("VCLOCK", "GET", conflict)
    want("the siblings of a conflict", sorted(siblings), [b"a", b"b"])
    after = other("VCLOCK", "SET", conflict, context, "c")
    want("VCLOCK COMPARE", other("VCLOCK", "COMPARE", context, after), b"before")
    context, siblings = other("VCLOCK", "GET", conflict)
    want("what is left of the conflict", siblings, [b"c"])
    other("VCLOCK", "DEL", conflict, context)
    want("GET after VCLOCK DEL", c.get(conflict), None)

    refused("GET", lambda: other("GET"), "wrong number of arguments for 'get' command")
    refused("INCR", lambda: c.incr(key("bytes")), "value is not an integer or out of range")
    refused("SET EX 0", lambda: c.execute_command("SET", key("x"), "y", "EX", "0"), "invalid expire time in 'set' command")
    refused("VCLOCK SET", lambda: other("VCLOCK", "SET", conflict, "no-context", "y"), "")
    refused("LPUSH", lambda: other("LPUSH", key("x"), "y"), "unknown command 'LPUSH'")


def main():
    topology, prefix, *addresses = sys.argv[1:]
    signal.alarm(60)  # a client that waits for what never comes would wait for ever
    nodes = [(host, int(port)) for host, port in (a.split(":") for a in addresses)]
    if topology == "cluster":
        client = RedisCluster(startup_nodes=[ClusterNode(h, p) for h, p in nodes])
    else:
        client = redis.Redis(host=nodes[0][0], port=nodes[0][1])
    scenario(client, topology == "cluster", prefix)
    client.close()
    print("passed")


main()
