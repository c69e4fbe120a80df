"""The part "While the ring changes" of the package comment of tests/compat, through redis-py.

Arguments: PREFIX ADDRESS...
"""
import collections
import signal
import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

WRITERS = 2  # of a language that runs one thread at a time
PAUSE = 0.002  # keeps one client from taking the processor that the others need
PATIENCE = 60


class Cluster(RedisCluster):
    """redis-py 4.3, which Debian 12 has, asks for the slots anew with a copy of its settings, one of
    which is a method of the client, whose lock cannot be copied: after a node's death it would fail
    for ever whenever the dead node is the first that it asks."""

    def __deepcopy__(self, memo):
        return self


class Moving:
    def __init__(self, connect, prefix):
        # Threads that share a client take each other's redirections away.
        self.clients = [connect() for _ in range(WRITERS)]
        self.prefix = prefix
        self.lock = threading.Lock()
        self.acknowledged, self.failed, self.problems = [], 0, collections.Counter()
        self.lost = []
        self.stopped = threading.Event()

    def note(self, error):
        with self.lock:
            self.failed += 1
            self.problems[f"{type(error).__name__}: {error}"] += 1

    def read(self, key, client):
        got = client.get(key)
        if got != value_of(key):
            self.lost.append(f"{key} was acknowledged and reads as {got!r}")
            self.stopped.set()

    def write(self, writer):
        n, client = 0, self.clients[writer]
        while not self.stopped.wait(PAUSE):
            key = f"{self.prefix}:{writer}:{n}"
            n += 1
            try:
                client.set(key, value_of(key))
                with self.lock:
                    self.acknowledged.append(key)
                self.read(key, client)
            except redis.exceptions.RedisError as e:
                self.note(e)

    def check(self, key, client):
        began = time.monotonic()
        while True:
            try:
                return self.read(key, client)
            except redis.exceptions.RedisError as e:
                self.note(e)
                if time.monotonic() - began > PATIENCE:
                    raise
                time.sleep(0.01)

    def report(self):
        with self.lock:
            print(f"acknowledged {len(self.acknowledged)} failed {self.failed}", flush=True)

    def run(self):
        def await_end():
            sys.stdin.read()
            self.stopped.set()
        threading.Thread(target=await_end, daemon=True).start()
        writers = [threading.Thread(target=self.write, args=(w,)) for w in range(WRITERS)]
        for w in writers:
            w.start()
        while not self.stopped.wait(0.1):
            self.report()
        for w in writers:
            w.join()
        self.report()
        for key in self.acknowledged:
            self.check(key, self.clients[int(key.split(":")[1])])
        if self.lost:
            raise SystemExit("\n".join(self.lost))
        for text, n in self.problems.items():
            print("problem", n, text.replace("\n", " "))


def value_of(key):
    return b"value of " + key.encode()


def main():
    prefix, *addresses = sys.argv[1:]
    signal.alarm(180)  # a client that waits for what never comes would wait for ever
    nodes = [ClusterNode(host, int(port)) for host, port in (a.split(":") for a in addresses)]
    moving = Moving(lambda: Cluster(startup_nodes=nodes), prefix)
    moving.run()
    for client in moving.clients:
        client.close()
    print("passed")


main()
