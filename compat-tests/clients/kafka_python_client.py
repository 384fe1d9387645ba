"""Everything a broker must do for kafka-python.

usage: kafka_python_client.py BOOTSTRAP PREFIX
"""
import sys
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

import records
from records import COUNT, PARTITIONS, step

bootstrap, prefix = sys.argv[1:]
admin = KafkaAdminClient(bootstrap_servers=bootstrap)


def create(name):
    admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})])


def wait_until(what, limit=20):
    deadline = time.time() + limit
    while not what():
        assert time.time() < deadline, "still not so after %d s" % limit
        time.sleep(0.05)


def written(i):
    """Record i as this client can write it: no null in headers, no record with neither key nor value."""
    key, value, headers, timestamp = records.make(i)
    if key is None and value is None:
        key = b""
    return key, value, [h for h in headers if h[1] is not None], timestamp


def check_topic(topic, want=records.make):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False, check_crcs=True,
                             fetch_max_wait_ms=50)
    for partition in range(PARTITIONS):
        numbers = list(range(partition, COUNT, PARTITIONS))
        part = TopicPartition(topic, partition)
        consumer.assign([part])
        consumer.seek(part, 0)
        got, deadline = [], time.time() + 60
        while len(got) < len(numbers):
            assert time.time() < deadline, f"{part}: {len(got)} of {len(numbers)} records after 60 s"
            for some in consumer.poll(timeout_ms=1000).values():
                got += some
        assert [m.offset for m in got] == list(range(len(numbers)))
        for i, m in zip(numbers, got):
            assert m.timestamp_type == 0
            records.check(want(i), i, m.key, m.value, m.headers, m.timestamp)
    consumer.close()


print("kafka-python", kafka.__version__)

for codec in records.CODECS:
    for idempotent in (False, True):
        topic = f"{prefix}-{codec}-{'idempotent' if idempotent else 'plain'}"
        create(topic)
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
                                 enable_idempotence=idempotent, acks="all", linger_ms=20)
        futures = []
        for i in range(COUNT):
            key, value, headers, timestamp = written(i)
            futures.append(producer.send(topic, value, key, headers, i % PARTITIONS, timestamp))
        producer.flush(60)
        assert [f.get(30).offset for f in futures] == [i // PARTITIONS for i in range(COUNT)]
        producer.close()
        check_topic(topic, written)
        step(f"produce and read back {topic}")

check_topic(f"{prefix}-go")
step("read what franz-go wrote")

topic = f"{prefix}-none-plain"
try:
    create(topic)
    raise AssertionError("a topic was created twice")
except TopicAlreadyExistsError:
    step("create a topic that exists")

per_partition = COUNT // PARTITIONS
part = TopicPartition(topic, 1)
consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
assert consumer.beginning_offsets([part])[part] == 0
assert consumer.end_offsets([part])[part] == per_partition
assert consumer.offsets_for_times({part: records.make(31)[3]})[part].offset == 10
assert consumer.offsets_for_times({part: records.make(31)[3] + 1})[part].offset == 11
step("list offsets")


def effective(name):
    return admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")["topic"][topic][name]["value"]


assert effective("retention.ms") == "-1" and effective("segment.bytes") == "1073741824"
admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"segment.bytes": "1000000"})])
wait_until(lambda: effective("segment.bytes") == "1000000")
step("describe and alter configs")

admin.delete_records({part: 10})
assert consumer.beginning_offsets([part])[part] == 10
step("delete records")

admin.create_partitions({topic: PARTITIONS + 2})
wait_until(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == PARTITIONS + 2)
step("add partitions")

create(f"{prefix}-deleted")
admin.delete_topics([f"{prefix}-deleted"])
wait_until(lambda: f"{prefix}-deleted" not in admin.list_topics())
step("delete a topic")
consumer.close()
admin.close()
