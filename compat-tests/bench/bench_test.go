package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == floorCommand { // startFloor runs this program
		if err := serveFloor(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestAllScenarios measures a little of everything, without Kafka.
func TestAllScenarios(t *testing.T) {
	c := command{scale: scales()["tiny"], scenarios: scenarios(), withoutKafka: true}
	var out bytes.Buffer
	r, kept := &Results{}, 0
	err := measure(c, r, newProgress(&out, time.Now), func() error { kept++; return nil })
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if kept != len(c.scenarios) {
		t.Errorf("results were kept %d times", kept)
	}
	for _, s := range c.scenarios {
		m := r.of(s.name)
		if len(m.Cells) == 0 {
			t.Errorf("%s has no cells", s.name)
		}
		for _, cell := range m.Cells {
			if len(cell.Rounds) == 0 || len(cell.Rounds[0][ours]) == 0 {
				t.Errorf("%s, %s: nothing was measured", s.name, cell.Name)
			}
			for name, value := range cell.Rounds[0][ours] {
				if value <= 0 && name != cpuPerMinute && name != grown && name != grownPerConnection {
					t.Errorf("%s, %s: %s is %v", s.name, cell.Name, name, value)
				}
			}
		}
	}
	for _, scenario := range []string{"produce", "consume"} {
		for _, cell := range r.of(scenario).Cells {
			if floor := cell.median(theFloor, cpuPerGB); cell.Is["codec"] != "" && !(floor > 0) {
				t.Errorf("%s, %s: the floor is %v", scenario, cell.Name, floor)
			}
		}
	}
	if text := summary(r, c.scenarios); !strings.Contains(text, "| resident when idle ") {
		t.Errorf("the summary has no aims:\n%s", text)
	}
}

// TestFailedScenario has a scenario fail in each way there is.
func TestFailedScenario(t *testing.T) {
	for what, run := range map[string]func(b *bench) error{
		"returns an error": func(*bench) error { return errors.New("broken") },
		"Fatalf":           func(b *bench) error { b.Fatalf("%s", "broken"); return nil },
		"Errorf":           func(b *bench) error { b.Errorf("broken"); return nil },
	} {
		var out bytes.Buffer
		b := &bench{dir: t.TempDir(), progress: newProgress(&out, time.Now)}
		cleaned := false
		_, err := b.do(scenario{run: func(b *bench) error {
			b.Cleanup(func() { cleaned = true })
			return run(b)
		}})
		if err == nil || !strings.Contains(err.Error()+out.String(), "broken") {
			t.Errorf("%s: %v, %q", what, err, out.String())
		}
		if !cleaned {
			t.Errorf("%s: it was not cleaned up", what)
		}
		if _, err := b.do(scenario{run: func(*bench) error { return nil }}); err != nil {
			t.Errorf("%s: the next scenario fails too: %v", what, err)
		}
	}
}

func TestRoundsTakeTurns(t *testing.T) {
	var order []string
	turns := []turn{
		{ours, func() (Values, error) { order = append(order, "o"); return Values{cpuPerGB: 1}, nil }},
		{kafka, func() (Values, error) { order = append(order, "k"); return Values{cpuPerGB: 2}, nil }},
	}
	b := &bench{progress: newProgress(&bytes.Buffer{}, time.Now)}
	rounds, err := b.rounds("", 3, turns)
	if err != nil || len(rounds) != 3 || rounds[2][kafka][cpuPerGB] != 2 {
		t.Fatalf("%v %v", rounds, err)
	}
	if got := strings.Join(order, ""); got != "okkook" {
		t.Errorf("turns were taken as %s", got)
	}
}

func TestWarmUpEndsWhenItIsWarm(t *testing.T) {
	takes := []float64{10, 5, 4.9, 1}
	n := 0
	b := &bench{scale: scales()["full"], progress: newProgress(&bytes.Buffer{}, time.Now)}
	err := b.warmUp("", cpuPerGB, []turn{{kafka, func() (Values, error) { n++; return Values{cpuPerGB: takes[n-1]}, nil }}})
	if err != nil || n != 3 {
		t.Errorf("%d warm-ups, %v", n, err)
	}
}

// A client reads from the floor what a broker has written, and does not notice.
func TestFloorServesConsumers(t *testing.T) {
	f, err := startFloor(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	broker := harness.StartGracchus(t, harness.Options{})
	for topic, l := range map[string]load{
		"small": {record: 100, batch: 16 << 10, codec: "none", acks: "all", bytes: 3 << 20},
		"large": {record: 1 << 10, batch: 1 << 20, codec: "zstd", acks: "all", bytes: 8 << 20},
	} {
		if err := createTopics(broker.Addr, 1, topic); err != nil {
			t.Fatal(err)
		}
		if _, err := produce(broker.Addr, topic, l, makeValues(l.record, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := f.serve(topic, filepath.Join(broker.Options.Dirs[0], topic+"-0")); err != nil {
			t.Fatal(err)
		}
		of := map[string]traffic{}
		for name, addr := range map[string]string{"broker": broker.Addr, "floor": f.kafka} {
			if of[name], err = consume(addr, topic, l); err != nil {
				t.Fatalf("%s, %v: %v", name, l, err)
			}
		}
		if b, f := of["broker"], of["floor"]; f.values != b.values || f.batches < b.batches || f.wire > b.wire+b.wire/50 {
			t.Errorf("%v: the floor has sent %+v, the broker %+v", l, f, b)
		}
	}
}

// What is produced to the floor reaches the consumer that waits, and one that comes later.
func TestFloorRelays(t *testing.T) {
	f, err := startFloor(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	for range 2 { // the second begins empty
		if err := f.relay("waiting"); err != nil {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(f.kafka), kgo.DefaultProduceTopic("waiting"), kgo.ProducerLinger(0),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"waiting": {0: kgo.NewOffset().At(0)}}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			want := fmt.Sprint(i)
			if err := client.ProduceSync(t.Context(), kgo.StringRecord(want)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			got := client.PollFetches(t.Context()).Records()
			if len(got) != 1 || got[0].Offset != int64(i) || string(got[0].Value) != want {
				t.Errorf("record %d was read as %v", i, got)
			}
		}
		client.Close()
	}
	if err := f.relay("later"); err != nil {
		t.Fatal(err)
	}
	l := load{record: 1 << 10, batch: 16 << 10, codec: "none", acks: "all", bytes: 1 << 20}
	sent, err := produce(f.kafka, "later", l, makeValues(l.record, 1000))
	if err != nil {
		t.Fatal(err)
	}
	got, err := consume(f.kafka, "later", l)
	if err != nil || got.values != sent.values || got.wire < sent.wire*9/10 {
		t.Errorf("of %+v were read %+v, %v", sent, got, err)
	}
}

func TestProcessorTimeAndMemory(t *testing.T) {
	f, err := startFloor(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	const n, size = 200, 100000
	wrote, err := f.spent(func() error { return f.write(n, size) })
	if err != nil || wrote <= 0 || wrote > 10*time.Second {
		t.Errorf("writing took %v; %v", wrote, err)
	}
	if info, err := os.Stat(f.file); err != nil || info.Size() != n*size {
		t.Errorf("the floor wrote %v; %v", info, err)
	}
	const fewer = 10
	if _, err := f.writeOnce(traffic{values: fewer * size, requests: fewer, wire: fewer * size}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(f.file); err != nil || info.Size() != fewer*size {
		t.Errorf("in another turn the floor wrote %v; %v", info, err)
	}
	m, err := memoryOf(os.Getpid())
	if err != nil || m.resident < 1<<20 || m.peak < m.resident || m.peak > 1<<36 {
		t.Errorf("memory: %+v, %v", m, err)
	}
	if _, err := cpuTime(1 << 22); err == nil {
		t.Error("a process that is not there has processor time")
	}
}

var _ harness.TB = (*bench)(nil)
