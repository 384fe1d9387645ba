"""Everything a broker must do for librdkafka, by confluent-kafka.

usage: confluent_client.py BOOTSTRAP PREFIX
"""
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

import records
from records import COUNT, PARTITIONS, step

bootstrap, prefix = sys.argv[1:]
admin = AdminClient({"bootstrap.servers": bootstrap})


def results(futures):
    return {key: future.result(timeout=30) for key, future in futures.items()}


def create(name):
    results(admin.create_topics([NewTopic(name, PARTITIONS, 1, config={"retention.ms": "-1"})]))


def check_topic(topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 50,
                         "enable.partition.eof": True, "check.crcs": True, "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in range(PARTITIONS)])
    got, at_end, deadline = [[] for _ in range(PARTITIONS)], set(), time.time() + 60
    while len(at_end) < PARTITIONS:
        assert time.time() < deadline, f"{topic}: {[len(g) for g in got]} records after 60 s"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            at_end.add(message.partition())
            continue
        got[message.partition()].append(message)
    consumer.close()
    for partition in range(PARTITIONS):
        numbers = list(range(partition, COUNT, PARTITIONS))
        assert [m.offset() for m in got[partition]] == list(range(len(numbers))), f"{topic}-{partition}: {len(got[partition])} records"
        for i, m in zip(numbers, got[partition]):
            kind, timestamp = m.timestamp()
            assert kind == confluent_kafka.TIMESTAMP_CREATE_TIME
            records.check(records.make(i), i, m.key(), m.value(), m.headers(), timestamp)


print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])

for codec in records.CODECS:
    for idempotent in (False, True):
        topic = f"{prefix}-{codec}-{'idempotent' if idempotent else 'plain'}"
        create(topic)
        failed = []
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": idempotent,
                             "acks": "all", "linger.ms": 20})
        for i in range(COUNT):
            key, value, headers, timestamp = records.make(i)
            producer.produce(topic, value, key, i % PARTITIONS, timestamp=timestamp, headers=headers,
                             on_delivery=lambda error, _: error and failed.append(error))
        assert producer.flush(60) == 0 and not failed, failed
        check_topic(topic)
        step(f"produce and read back {topic}")

check_topic(f"{prefix}-go")
step("read what franz-go wrote")

# The transactions of transactions_test.go.
TRANSACTIONS, RECORDS = 30, 10


def aborts(n):
    return n % 3 == 1


def transactional(name):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 5})
    producer.init_transactions(30)
    return producer


def read_committed(group):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "isolation.level": "read_committed", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "fetch.wait.max.ms": 50, "enable.partition.eof": True})


def open_records(topic, partition):
    """How many records there are from the first on of a transaction that is open."""
    part, level = TopicPartition(topic, partition), confluent_kafka.IsolationLevel
    ends = [results(admin.list_offsets({part: OffsetSpec.latest()}, isolation_level=l))[part].offset
            for l in (level.READ_COMMITTED, level.READ_UNCOMMITTED)]
    return ends[1] - ends[0]


def committed(topic, partition, start=0, still_open=0):
    """The records of a partition that are committed, once only so many are open."""
    wait_until(lambda: open_records(topic, partition) == still_open)
    consumer = read_committed("none")
    consumer.assign([TopicPartition(topic, partition, start)])
    got, deadline = [], time.time() + 60
    while True:
        assert time.time() < deadline, f"{topic}-{partition}: {len(got)} records after 60 s"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            if message.error().code() != confluent_kafka.KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            break
        got.append(message)
    consumer.close()
    return got


def values(messages):
    return [m.value().decode() for m in messages]


def wait_until(what, limit=20):
    deadline = time.time() + limit
    while not what():
        assert time.time() < deadline, "still not so after %d s" % limit
        time.sleep(0.05)


topic = f"{prefix}-go-transactions"  # the same, and one that is open in the last partition
for partition in range(PARTITIONS):
    still_open = 1 if partition == PARTITIONS - 1 else 0
    everything = committed(topic, partition, 0, still_open)
    assert values(everything) == [f"{n}-{i}" for n in range(TRANSACTIONS) for i in range(partition, RECORDS, PARTITIONS) if not aborts(n)]
    for start in range(1, 12 if partition == 0 else 1):  # all offsets of the first transactions
        got = values(committed(topic, partition, start, still_open))
        assert got == values(m for m in everything if m.offset() >= start), f"{topic}-{partition} from {start}: {got}"
step("read transactions that franz-go wrote")

topic = f"{prefix}-transactions"
create(topic)
expected = [[] for _ in range(PARTITIONS)]
producer = transactional(topic)
for n in range(TRANSACTIONS):
    producer.begin_transaction()
    for i in range(RECORDS):
        if i == 6:
            producer.flush()  # and the rest in batches of its own
        producer.produce(topic, f"{n}-{i}", partition=i % PARTITIONS)
        if not aborts(n):
            expected[i % PARTITIONS].append(f"{n}-{i}")
    producer.flush()  # or an abort would drop what is not sent
    (producer.abort_transaction if aborts(n) else producer.commit_transaction)(30)
for partition in range(PARTITIONS):
    everything = committed(topic, partition)
    assert values(everything) == expected[partition], f"{topic}-{partition}: {values(everything)}"
    rest = committed(topic, partition, everything[1].offset())  # from the middle of the first batch
    assert values(rest) == expected[partition][1:], f"{topic}-{partition} from {everything[1].offset()}: {values(rest)}"
step("commit and abort transactions")

output, group = f"{topic}-output", f"{topic}-group"
create(output)
count, done, n = sum(map(len, expected)), 0, 0
consumer = read_committed(group)
consumer.subscribe([topic])
while done < count:
    some, deadline = [], time.time() + 30
    while not some:
        assert time.time() < deadline, f"{done} of {count} records were read"
        some = [m for m in consumer.consume(40, 0.5) if not m.error()]
    producer = transactional(group)  # fences the one before
    producer.begin_transaction()
    for m in some:
        producer.produce(output, m.value(), partition=m.partition())
    next_offsets = {m.partition(): m.offset() + 1 for m in some}
    producer.send_offsets_to_transaction([TopicPartition(topic, p, at) for p, at in next_offsets.items()], consumer.consumer_group_metadata(), 30)
    producer.flush()
    if aborts(n):
        producer.abort_transaction(30)
        for part in consumer.committed([TopicPartition(topic, p) for p in next_offsets], 30):
            consumer.seek(TopicPartition(topic, part.partition, max(part.offset, 0)))  # and reads again what it has read in vain
    else:
        producer.commit_transaction(30)
        done += len(some)
    n += 1
consumer.close()
for partition in range(PARTITIONS):
    got = values(committed(output, partition))
    assert got == expected[partition], f"{output}-{partition}: {got}"
step("consume, transform and produce")

topic = f"{prefix}-none-plain"
try:
    create(topic)
    raise AssertionError("a topic was created twice")
except KafkaException as e:
    assert e.args[0].code() == confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS, e
step("create a topic that exists")

per_partition = COUNT // PARTITIONS
part = TopicPartition(topic, 1)
for spec, want in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), per_partition),
                   (OffsetSpec.max_timestamp(), per_partition - 1),
                   (OffsetSpec.for_timestamp(records.make(31)[3]), 10), (OffsetSpec.for_timestamp(records.make(31)[3] + 1), 11)):
    got = results(admin.list_offsets({part: spec}))[part].offset
    assert got == want, f"{spec}: {got}, not {want}"
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"})
assert consumer.get_watermark_offsets(part, timeout=30) == (0, per_partition)
assert consumer.offsets_for_times([TopicPartition(topic, 1, records.make(100)[3])], timeout=30)[0].offset == 33
consumer.close()
step("list offsets")

resource = ConfigResource(ResourceType.TOPIC, topic)
broker = ConfigResource(ResourceType.BROKER, "1")
configs = results(admin.describe_configs([resource, broker]))
assert configs[resource]["retention.ms"].value == "-1" and not configs[resource]["retention.ms"].is_default
assert configs[resource]["segment.bytes"].value == "1073741824" and configs[resource]["segment.bytes"].is_default
assert configs[broker]["broker.id"].value == "1" and configs[broker]["broker.id"].is_read_only


def alter(name, value, operation):
    entry = ConfigEntry(name, value, incremental_operation=operation)
    results(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))


def effective(name):
    return results(admin.describe_configs([resource]))[resource][name].value


alter("segment.bytes", "1000000", AlterConfigOpType.SET)
wait_until(lambda: effective("segment.bytes") == "1000000")
alter("cleanup.policy", "compact", AlterConfigOpType.APPEND)
wait_until(lambda: effective("cleanup.policy") == "delete,compact")
alter("cleanup.policy", "compact", AlterConfigOpType.SUBTRACT)
wait_until(lambda: effective("cleanup.policy") == "delete")
alter("segment.bytes", None, AlterConfigOpType.DELETE)
wait_until(lambda: effective("segment.bytes") == "1073741824")
try:
    alter("segment.bytes", "1", AlterConfigOpType.SET)
    raise AssertionError("segment.bytes=1 was accepted")
except KafkaException as e:
    assert e.args[0].code() == confluent_kafka.KafkaError.INVALID_CONFIG, e
step("describe and alter configs")

assert results(admin.delete_records([TopicPartition(topic, 1, 10)]))[part].low_watermark == 10
assert results(admin.list_offsets({part: OffsetSpec.earliest()}))[part].offset == 10
step("delete records")

results(admin.create_partitions([NewPartitions(topic, PARTITIONS + 2)]))
wait_until(lambda: len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == PARTITIONS + 2)
step("add partitions")

create(f"{prefix}-deleted")
results(admin.delete_topics([f"{prefix}-deleted"]))
wait_until(lambda: f"{prefix}-deleted" not in admin.list_topics(timeout=10).topics)
step("delete a topic")

cluster = admin.describe_cluster().result(timeout=30)
assert [node.id for node in cluster.nodes] == [1] and cluster.controller.id == 1 and cluster.cluster_id
step("describe the cluster")
