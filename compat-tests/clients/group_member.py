"""A member of a group, until SIGTERM. It says what it is assigned and what it loses, and each record's partition and
offset, before it commits them.

usage: group_member.py BOOTSTRAP GROUP TOPIC range|cooperative SESSION-MS
"""
import signal
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

bootstrap, group, topic, assignor, session = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap, "group.id": group, "session.timeout.ms": int(session), "heartbeat.interval.ms": 300,
    "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100,
    "partition.assignment.strategy": {"range": "range", "cooperative": "cooperative-sticky"}[assignor],
})
ended = False


def end(*_):
    global ended
    ended = True


def say(what):
    return lambda _, partitions: print(what, 0, *sorted(p.partition for p in partitions), flush=True)


signal.signal(signal.SIGTERM, end)
consumer.subscribe([topic], on_assign=say("assigned"), on_revoke=say("revoked"), on_lost=say("lost"))
LOST = (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._NO_OFFSET)
uncommitted = False


def commit():
    global uncommitted
    try:
        if uncommitted:
            consumer.commit(asynchronous=False)
        uncommitted = False
    except KafkaException as e:
        if e.args[0].code() not in LOST:
            raise
        print("not-committed 0", flush=True)  # what it has lost meanwhile somebody reads again


while not ended:
    for m in consumer.consume(100, 0.1):
        if m.error():
            raise KafkaException(m.error())
        print("record", m.partition(), m.offset(), flush=True)
        uncommitted = True
    commit()
commit()
consumer.close()
print("closed 0", flush=True)
