import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group, until SIGTERM. It says what it is assigned and what it loses, and each record's partition and
 * offset, before it commits them. Usage: GroupMember BOOTSTRAP GROUP TOPIC range|cooperative SESSION-MS [INSTANCE]
 */
public class GroupMember {
    static void say(String what, int generation, Collection<TopicPartition> partitions) {
        StringBuilder line = new StringBuilder(what + " " + generation);
        partitions.stream().map(TopicPartition::partition).sorted().forEach(p -> line.append(" ").append(p));
        System.out.println(line);
    }

    public static void main(String[] args) throws Exception {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", args[0], "group.id", args[1], "session.timeout.ms", args[4],
            "heartbeat.interval.ms", 300, "enable.auto.commit", false, "auto.offset.reset", "earliest", "fetch.max.wait.ms", 100,
            "partition.assignment.strategy", (args[3].equals("range") ? RangeAssignor.class : CooperativeStickyAssignor.class).getName()));
        if (args.length > 5) config.put("group.instance.id", args[5]);
        Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }));
        consumer.subscribe(List.of(args[2]), new ConsumerRebalanceListener() {
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) { say("assigned", consumer.groupMetadata().generationId(), partitions); }

            public void onPartitionsRevoked(Collection<TopicPartition> partitions) { say("revoked", consumer.groupMetadata().generationId(), partitions); }

            public void onPartitionsLost(Collection<TopicPartition> partitions) { say("lost", -1, partitions); }
        });
        try {
            for (;;) {
                StringBuilder processed = new StringBuilder();
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofSeconds(1)))
                    processed.append("record ").append(r.partition()).append(" ").append(r.offset()).append("\n");
                System.out.print(processed);
                System.out.flush();
                uncommitted |= processed.length() > 0;
                commit(consumer);
            }
        } catch (WakeupException e) {
            commit(consumer);
            consumer.close();
            System.out.println("closed 0");
        }
    }

    static boolean uncommitted;

    static void commit(Consumer<byte[], byte[]> consumer) {
        try {
            if (uncommitted) consumer.commitSync();
            uncommitted = false;
        } catch (RebalanceInProgressException | CommitFailedException e) {
            System.out.println("not-committed 0"); // what it has lost meanwhile somebody reads again
        }
    }
}
