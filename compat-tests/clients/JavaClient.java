import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.AppInfoParser;

/** Everything a broker must do for the Java client. Usage: JavaClient BOOTSTRAP PREFIX */
public class JavaClient {
    static final int PARTITIONS = 3, COUNT = 120;
    static final int[] SIZES = {0, 1, 10, 100, 1000, 5000};
    static String bootstrap, prefix;
    static Admin admin;

    // The records of harness/records.go.
    static byte[] key(int i) { return i % 7 == 0 ? null : ("key-" + i).getBytes(StandardCharsets.US_ASCII); }

    static byte[] value(int i) {
        if (i % 11 == 10) return null;
        byte[] value = new byte[SIZES[i % SIZES.length]];
        for (int j = 0; j < value.length; j++) value[j] = (byte) (i * 31 + j * 7);
        return value;
    }

    static List<Header> headers(int i) {
        List<Header> headers = new ArrayList<>();
        if (i % 3 > 0) headers.add(new RecordHeader("n", ("" + i).getBytes(StandardCharsets.US_ASCII)));
        if (i % 3 > 1) headers.addAll(List.of(new RecordHeader("empty", new byte[0]), new RecordHeader("null", (byte[]) null)));
        return headers;
    }

    static long timestamp(int i) { return 1700000000000L + i * 1000L; }

    static void check(boolean what, Object text) {
        if (!what) throw new AssertionError(text);
    }

    static void step(String text) { System.out.println("ok " + text); }

    static void waitUntil(BooleanSupplier what) throws InterruptedException {
        for (long deadline = System.nanoTime() + 20_000_000_000L; !what.getAsBoolean(); Thread.sleep(50))
            check(System.nanoTime() < deadline, "still not so after 20 s");
    }

    static void create(String name) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1).configs(Map.of("retention.ms", "-1")))).all().get();
    }

    static void checkTopic(String topic) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none", "fetch.max.wait.ms", 50, "enable.auto.commit", false);
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                TopicPartition part = new TopicPartition(topic, partition);
                consumer.assign(List.of(part));
                consumer.seek(part, 0);
                int expected = COUNT / PARTITIONS, got = 0;
                for (long deadline = System.nanoTime() + 60_000_000_000L; got < expected; ) {
                    check(System.nanoTime() < deadline, part + ": " + got + " records after 60 s");
                    for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofSeconds(1))) {
                        int i = partition + got * PARTITIONS;
                        check(r.offset() == got, "offset " + r.offset() + ", not " + got);
                        check(Arrays.equals(r.key(), key(i)) && Arrays.equals(r.value(), value(i)) && Arrays.asList(r.headers().toArray()).equals(headers(i))
                            && r.timestamp() == timestamp(i) && r.timestampType() == TimestampType.CREATE_TIME, "record " + i + " is " + r);
                        got++;
                    }
                }
            }
        }
    }

    static Config describe(ConfigResource resource) {
        try {
            return admin.describeConfigs(List.of(resource)).all().get().get(resource);
        } catch (InterruptedException | ExecutionException e) {
            throw new RuntimeException(e);
        }
    }

    static void alter(ConfigResource resource, String name, String value, AlterConfigOp.OpType op) throws Exception {
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), op)))).all().get();
    }

    static long offset(TopicPartition part, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(part, spec)).all().get().get(part).offset();
    }

    // The transactions of transactions_test.go.
    static final int TRANSACTIONS = 30, RECORDS = 10;

    static boolean aborts(int n) { return n % 3 == 1; }

    static Producer<String, String> transactional(String id) {
        Producer<String, String> producer = new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap, "transactional.id", id), new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    static KafkaConsumer<String, String> readCommitted(String group) {
        return new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "group.id", group, "isolation.level", "read_committed", "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "fetch.max.wait.ms", 50, "max.poll.records", 40), new StringDeserializer(), new StringDeserializer());
    }

    /** Where a partition ends, once no transaction is open in it. */
    static long stableEnd(TopicPartition part) throws Exception {
        waitUntil(() -> {
            try {
                return offset(part, OffsetSpec.latest()) == admin.listOffsets(Map.of(part, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).all().get().get(part).offset();
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        });
        return offset(part, OffsetSpec.latest());
    }

    static List<ConsumerRecord<String, String>> committed(TopicPartition part, long from) throws Exception { return committed(part, from, stableEnd(part)); }

    static List<ConsumerRecord<String, String>> committed(TopicPartition part, long from, long end) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = readCommitted("none")) {
            consumer.assign(List.of(part));
            consumer.seek(part, from);
            for (long deadline = System.nanoTime() + 60_000_000_000L; consumer.position(part) < end; ) {
                check(System.nanoTime() < deadline, part + " was read only up to " + consumer.position(part));
                records.addAll(consumer.poll(Duration.ofSeconds(1)).records(part));
            }
            check(consumer.poll(Duration.ZERO).isEmpty() && consumer.position(part) == end, part + " is read on to " + consumer.position(part));
        }
        return records;
    }

    /** What franz-go wrote: the same, and a transaction that is open, in the last partition. */
    static void readTransactions(String topic) throws Exception {
        for (int p = 0; p < PARTITIONS; p++) {
            TopicPartition part = new TopicPartition(topic, p);
            List<String> expected = new ArrayList<>();
            for (int n = 0; n < TRANSACTIONS; n++)
                for (int i = p; i < RECORDS && !aborts(n); i += PARTITIONS) expected.add(n + "-" + i);
            long end = admin.listOffsets(Map.of(part, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)).all().get().get(part).offset();
            check(offset(part, OffsetSpec.latest()) - end == (p == PARTITIONS - 1 ? 1 : 0), part + " is stable up to " + end);
            List<ConsumerRecord<String, String>> all = committed(part, 0, end);
            check(values(all).equals(expected), part + ": " + values(all));
            for (long from = 1; from < 12 && p == 0; from++) { // all of the first transactions
                long begin = from;
                List<String> got = values(committed(part, from, end));
                check(got.equals(values(all.stream().filter(r -> r.offset() >= begin).toList())), part + " from " + from + ": " + got);
            }
        }
        step("read transactions that franz-go wrote");
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) { return records.stream().map(ConsumerRecord::value).toList(); }

    static void transactions(String topic) throws Exception {
        create(topic);
        List<List<String>> expected = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) expected.add(new ArrayList<>());
        try (Producer<String, String> producer = transactional(topic)) {
            for (int n = 0; n < TRANSACTIONS; n++) {
                producer.beginTransaction();
                for (int i = 0; i < RECORDS; i++) {
                    if (i == 6) producer.flush(); // and the rest in batches of its own
                    String value = n + "-" + i;
                    producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, value));
                    if (!aborts(n)) expected.get(i % PARTITIONS).add(value);
                }
                producer.flush(); // or an abort would drop what is not sent
                if (aborts(n)) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        for (int p = 0; p < PARTITIONS; p++) {
            TopicPartition part = new TopicPartition(topic, p);
            List<ConsumerRecord<String, String>> all = committed(part, 0);
            check(values(all).equals(expected.get(p)), part + ": " + values(all));
            long middle = all.get(1).offset(); // of the first batch
            check(values(committed(part, middle)).equals(expected.get(p).subList(1, all.size())), part + " from " + middle + ": " + values(committed(part, middle)));
        }
        step("commit and abort transactions");

        String output = topic + "-output", group = topic + "-group";
        create(output);
        int count = expected.stream().mapToInt(List::size).sum(), done = 0;
        try (KafkaConsumer<String, String> consumer = readCommitted(group)) {
            consumer.subscribe(List.of(topic));
            for (int n = 0; done < count; ) {
                ConsumerRecords<String, String> some = consumer.poll(Duration.ofSeconds(20));
                if (some.isEmpty()) continue;
                try (Producer<String, String> producer = transactional(group)) { // fences the one before
                    producer.beginTransaction();
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (ConsumerRecord<String, String> r : some) {
                        producer.send(new ProducerRecord<>(output, r.partition(), null, r.value()));
                        offsets.put(new TopicPartition(topic, r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    }
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    if (aborts(n++)) {
                        producer.abortTransaction();
                        for (TopicPartition part : offsets.keySet()) { // and reads again what it has read in vain
                            OffsetAndMetadata at = consumer.committed(Set.of(part)).get(part);
                            consumer.seek(part, at == null ? 0 : at.offset());
                        }
                    } else {
                        producer.commitTransaction();
                        done += some.count();
                    }
                }
            }
        }
        for (int p = 0; p < PARTITIONS; p++) {
            List<String> got = values(committed(new TopicPartition(output, p), 0));
            check(got.equals(expected.get(p)), output + "-" + p + ": " + got);
        }
        step("consume, transform and produce");
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[1];
        System.out.println("Java client " + AppInfoParser.getVersion());
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));

        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (boolean idempotent : new boolean[] {false, true}) {
                String topic = prefix + "-" + codec + "-" + (idempotent ? "idempotent" : "plain");
                create(topic);
                Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "compression.type", codec, "enable.idempotence", idempotent, "acks", "all", "linger.ms", 20);
                try (Producer<byte[], byte[]> producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
                    List<Future<RecordMetadata>> sent = new ArrayList<>();
                    for (int i = 0; i < COUNT; i++)
                        sent.add(producer.send(new ProducerRecord<>(topic, i % PARTITIONS, timestamp(i), key(i), value(i), headers(i))));
                    for (int i = 0; i < COUNT; i++) check(sent.get(i).get().offset() == i / PARTITIONS, "offset of record " + i + " is " + sent.get(i).get());
                }
                checkTopic(topic);
                step("produce and read back " + topic);
            }
        }
        checkTopic(prefix + "-go");
        step("read what franz-go wrote");
        readTransactions(prefix + "-go-transactions");
        transactions(prefix + "-transactions");

        String topic = prefix + "-none-plain";
        try {
            create(topic);
            throw new AssertionError("a topic was created twice");
        } catch (ExecutionException e) {
            check(e.getCause() instanceof TopicExistsException, e);
        }
        step("create a topic that exists");

        TopicPartition part = new TopicPartition(topic, 1);
        check(offset(part, OffsetSpec.earliest()) == 0, "earliest");
        check(offset(part, OffsetSpec.latest()) == COUNT / PARTITIONS, "latest");
        check(offset(part, OffsetSpec.maxTimestamp()) == COUNT / PARTITIONS - 1, "max timestamp");
        check(offset(part, OffsetSpec.forTimestamp(timestamp(31))) == 10, "for a timestamp");
        check(offset(part, OffsetSpec.forTimestamp(timestamp(31) + 1)) == 11, "for the next timestamp");
        check(offset(part, OffsetSpec.forTimestamp(timestamp(COUNT))) == -1, "for a timestamp past the end");
        step("list offsets");

        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = describe(resource);
        check(config.get("retention.ms").value().equals("-1") && config.get("retention.ms").source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms"));
        check(config.get("segment.bytes").value().equals("1073741824") && config.get("segment.bytes").isDefault(), config.get("segment.bytes"));
        check(describe(new ConfigResource(ConfigResource.Type.BROKER, "1")).get("broker.id").value().equals("1"), "broker.id");
        alter(resource, "segment.bytes", "1000000", AlterConfigOp.OpType.SET);
        waitUntil(() -> describe(resource).get("segment.bytes").value().equals("1000000"));
        alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        waitUntil(() -> describe(resource).get("cleanup.policy").value().equals("delete,compact"));
        alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
        waitUntil(() -> describe(resource).get("cleanup.policy").value().equals("delete"));
        alter(resource, "segment.bytes", "", AlterConfigOp.OpType.DELETE);
        waitUntil(() -> describe(resource).get("segment.bytes").value().equals("1073741824"));
        try {
            alter(resource, "segment.bytes", "1", AlterConfigOp.OpType.SET);
            throw new AssertionError("segment.bytes=1 was accepted");
        } catch (ExecutionException e) {
            check(e.getCause() instanceof InvalidConfigurationException, e);
        }
        step("describe and alter configs");

        check(admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(10))).lowWatermarks().get(part).get().lowWatermark() == 10, "low watermark");
        check(offset(part, OffsetSpec.earliest()) == 10, "earliest after deleting records");
        step("delete records");

        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 2))).all().get();
        waitUntil(() -> {
            try {
                return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == PARTITIONS + 2;
            } catch (InterruptedException | ExecutionException e) {
                throw new RuntimeException(e);
            }
        });
        step("add partitions");

        create(prefix + "-deleted");
        admin.deleteTopics(List.of(prefix + "-deleted")).all().get();
        waitUntil(() -> {
            try {
                return !admin.listTopics().names().get().contains(prefix + "-deleted");
            } catch (InterruptedException | ExecutionException e) {
                throw new RuntimeException(e);
            }
        });
        step("delete a topic");

        DescribeClusterResult cluster = admin.describeCluster();
        check(cluster.nodes().get().size() == 1 && cluster.controller().get().id() == 1 && !cluster.clusterId().get().isEmpty(), "cluster");
        check(!admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).isEmpty(), "log dirs");
        step("describe the cluster and its log directories");
        admin.close(Duration.ofSeconds(5));
        System.exit(0);
    }
}
