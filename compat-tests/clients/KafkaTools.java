import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's tools one after the other, which is faster than a JVM for each. A line of the input is a class and its
 * arguments, with tabs between them. What it prints is followed by a line of END and its exit code.
 */
public class KafkaTools {
    static class Ended extends Error {
        final int code;

        Ended(int code) {
            super(null, null, false, false);
            this.code = code;
        }
    }

    public static void main(String[] args) throws Exception {
        System.setErr(System.out); // before a tool keeps it
        Exit.setExitProcedure((code, message) -> { throw new Ended(code); });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t", -1);
            int code = 0;
            try {
                Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
            } catch (InvocationTargetException e) {
                if (e.getCause() instanceof Ended) {
                    code = ((Ended) e.getCause()).code;
                } else {
                    e.getCause().printStackTrace();
                    code = 1;
                }
            }
            System.out.println("\nEND " + code); // not all end with a line
            System.out.flush();
        }
        System.exit(0);
    }
}
