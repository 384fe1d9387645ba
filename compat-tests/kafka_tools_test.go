package compat

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// tools is a KafkaTools that runs.
type tools struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startTools(t *testing.T) *tools {
	t.Helper()
	cmd := javaProgram(t, harness.Fetch(t, "kafka"), "KafkaTools")()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &tools{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(k.end)
	return k
}

// end ends it, if it has not ended yet.
func (k *tools) end() {
	k.in.Close()
	_ = k.cmd.Wait()
}

// run runs a tool and returns what it says, its exit code at last.
func (k *tools) run(class string, args ...string) string {
	k.t.Helper()
	if _, err := fmt.Fprintln(k.in, strings.Join(append([]string{class}, args...), "\t")); err != nil {
		k.t.Fatal(err)
	}
	defer time.AfterFunc(2*time.Minute, func() { _ = k.cmd.Process.Kill() }).Stop()
	var said strings.Builder
	for {
		line, err := k.out.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			k.t.Fatalf("%s %s: %v\n%s", class, strings.Join(args, " "), err, said.String())
		}
		if strings.HasPrefix(line, "END ") {
			return said.String()
		}
	}
}

// dumpLogs runs Kafka's DumpLogSegments, which has to succeed.
func (k *tools) dumpLogs(t *testing.T, args ...string) string {
	t.Helper()
	said := k.run("kafka.tools.DumpLogSegments", args...)
	if !strings.HasSuffix(said, "\nEND 0\n") {
		t.Fatalf("DumpLogSegments %s:\n%s", strings.Join(args, " "), said)
	}
	return said
}
