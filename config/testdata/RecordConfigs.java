// Asks a running Kafka 3.9.2 for its configuration entries and for its answers
// to wrong topic values, and prints them as JSON lines: how the files beside
// this one were made. Usage, with Kafka's jars on the class path:
//
//   java -cp "$JARS/*" RecordConfigs.java describe BOOTSTRAP BROKER:1 TOPIC:name …  > describe.jsonl
//   java -cp "$JARS/*" RecordConfigs.java alter    BOOTSTRAP BROKER:1 name=value …
//   java -cp "$JARS/*" RecordConfigs.java validate BOOTSTRAP TOPIC:name < name=value lines > validate.jsonl
import java.io.*;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.config.ConfigResource;

public class RecordConfigs {
    static String quote(Object value) {
        if (value == null) return "null";
        StringBuilder b = new StringBuilder("\"");
        for (char c : value.toString().toCharArray()) {
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c < 32 || c > 126) b.append(String.format("\\u%04x", (int) c));
            else b.append(c);
        }
        return b.append('"').toString();
    }

    static ConfigResource resource(String text) {
        String[] parts = text.split(":", 2);
        return new ConfigResource(ConfigResource.Type.valueOf(parts[0]), parts[1]);
    }

    static AlterConfigOp set(String text) {
        String[] parts = text.split("=", 2);
        return new AlterConfigOp(new ConfigEntry(parts[0], parts[1]), AlterConfigOp.OpType.SET);
    }

    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[1]);
        try (Admin admin = Admin.create(p)) {
            if (args[0].equals("alter")) {
                List<AlterConfigOp> ops = new ArrayList<>();
                for (int i = 3; i < args.length; i++) ops.add(set(args[i]));
                admin.incrementalAlterConfigs(Map.of(resource(args[2]), ops)).all().get();
                return;
            }
            if (args[0].equals("validate")) {
                BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
                for (String line; (line = in.readLine()) != null; ) {
                    String error = null, message = null;
                    List<AlterConfigOp> ops = new ArrayList<>();
                    for (String part : line.split("&")) ops.add(set(part));
                    try {
                        admin.incrementalAlterConfigs(Map.of(resource(args[2]), ops), new AlterConfigsOptions().validateOnly(true)).all().get();
                    } catch (ExecutionException e) {
                        error = e.getCause().getClass().getSimpleName();
                        message = e.getCause().getMessage();
                    }
                    System.out.println("{\"set\":" + quote(line) + ",\"error\":" + quote(error) + ",\"message\":" + quote(message) + "}");
                }
                return;
            }
            for (int i = 2; i < args.length; i++) {
                ConfigResource r = resource(args[i]);
                List<ConfigEntry> entries = new ArrayList<>(admin.describeConfigs(List.of(r),
                    new DescribeConfigsOptions().includeSynonyms(true)).all().get().get(r).entries());
                entries.sort(Comparator.comparing(ConfigEntry::name));
                for (ConfigEntry e : entries) {
                    StringJoiner synonyms = new StringJoiner(",", "[", "]");
                    for (ConfigEntry.ConfigSynonym s : e.synonyms())
                        synonyms.add("{\"name\":" + quote(s.name()) + ",\"value\":" + quote(s.value()) + ",\"source\":" + quote(s.source()) + "}");
                    System.out.println("{\"resource\":" + quote(args[i]) + ",\"name\":" + quote(e.name()) + ",\"value\":" + quote(e.value())
                        + ",\"source\":" + quote(e.source()) + ",\"sensitive\":" + e.isSensitive() + ",\"readOnly\":" + e.isReadOnly()
                        + ",\"type\":" + quote(e.type()) + ",\"synonyms\":" + synonyms + "}");
                }
            }
        }
    }
}
