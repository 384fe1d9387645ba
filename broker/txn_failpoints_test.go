package broker

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestTransactionOutlivesCrashInBubble has the only broker fail between two durable steps
// of a transaction, of itself and of its coordinator, and start again. The steps are:
// InitProducerId, AddPartitionsToTxn, three batches, AddOffsetsToTxn, an offset, the
// decision, four markers, completion.
//
// GRACCHUS_FAILPOINTS=all has it fail after each number of steps, and not only after some
// of them, and GRACCHUS_FAILPOINTS=7 after 7, with the brokers' logs.
func TestTransactionOutlivesCrashInBubble(t *testing.T) {
	everyOne := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
	for _, c := range []struct {
		how           string
		killed, power []int
	}{
		{txnCommits, everyOne, []int{1, 7, 8, 10, 12}},
		{txnAborts, []int{2, 7, 8, 9, 12}, []int{0, 7, 9, 11}},
		{txnFenced, []int{6, 7, 8, 10, 12}, []int{4, 7, 8, 11}},
		{txnTimesOut, []int{3, 7, 8, 11, 12}, []int{5, 7, 8, 12}},
		{txnDropped, everyOne, []int{2, 6, 7, 8, 9}},
	} {
		failAt(t, txnTrial{brokers: 1, how: c.how, victim: coordinates, fault: killed}, c.killed)
		failAt(t, txnTrial{brokers: 1, how: c.how, victim: coordinates, fault: unplugged}, c.power)
	}
}

// TestTransactionOutlivesFailOverInBubble has one of three brokers fail between two of
// the durable steps that a transaction takes on any of them: three times as many. Others
// take over. When all is over, and the next transaction open, the one that has failed
// comes back, which changes nothing. The environment is that of
// TestTransactionOutlivesCrashInBubble.
func TestTransactionOutlivesFailOverInBubble(t *testing.T) {
	for _, c := range []struct {
		how, victim         string
		killed, paused, cut []int
	}{
		{txnCommits, coordinates, []int{22, 24}, []int{25}, []int{21}},
		{txnAborts, coordinates, []int{23}, []int{27}, []int{26}},
		{txnFenced, coordinates, []int{27}, []int{32}, []int{37}},
		{txnTimesOut, coordinates, []int{33}, []int{24}, []int{22}},
		{txnDropped, coordinates, []int{4}, []int{23}, []int{21, 24}},
		{txnCommits, leads, []int{10}, []int{20}, []int{31}},
		{txnAborts, leads, []int{25}, []int{30}, []int{34}},
		{txnFenced, leads, []int{28}, []int{26}, []int{12}},
		{txnTimesOut, leads, []int{19}, []int{29}, []int{36}},
		{txnDropped, leads, []int{31}, []int{34}, []int{25}},
	} {
		failAt(t, txnTrial{brokers: 3, how: c.how, victim: c.victim, fault: killed}, c.killed)
		failAt(t, txnTrial{brokers: 3, how: c.how, victim: c.victim, fault: paused}, c.paused)
		failAt(t, txnTrial{brokers: 3, how: c.how, victim: c.victim, fault: cutOff}, c.cut)
	}
}

// failAt has a broker fail after some numbers of steps, or those that the environment
// chooses: all of them end with the first that there are not.
func failAt(t *testing.T, x txnTrial, some []int) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	chosen := os.Getenv("GRACCHUS_FAILPOINTS")
	switch n, err := strconv.Atoi(chosen); {
	case err == nil:
		some, logger = []int{n}, nil
	case chosen == "all":
		some = nil
		for n := range 100 {
			some = append(some, n)
		}
	case chosen != "":
		t.Fatalf("GRACCHUS_FAILPOINTS=%q: give a number of steps, or all", chosen)
	}
	t.Run(x.how+"/"+x.victim+"/"+x.fault, func(t *testing.T) {
		t.Parallel()
		for _, steps := range some {
			more := true
			t.Run(fmt.Sprint(steps), func(t *testing.T) {
				logger := logger
				if logger == nil {
					logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
				}
				synctest.Test(t, func(t *testing.T) {
					trial := x
					more = trial.run(t, steps, logger) == steps
				})
			})
			if !more {
				break
			}
		}
	})
}

// A batch that was held up, and comes behind the marker of its transaction, begins none,
// which nothing would end (KIP-890).
func TestLateBatchInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := txnTrial{brokers: 1, how: txnAborts, victim: coordinates, fault: killed}
		s := x.begin(t, 1, slog.New(slog.DiscardHandler))
		const machine = "late"
		late, p := wire{process: s.net.Process(machine)}, txnPartitions[0]
		if x.prepare() && s.does("open a connection", late.open(1)) && s.does("begin", x.client.addPartitions()) {
			c := x.client
			mend := s.cut([2]string{machine, brokerMachine(1)})
			req := c.records(p, "late")
			req.SetVersion(wireProduce)
			s.does("send a batch", late.send(req))
			s.does("write another", c.produce(txnPartitions[1], "in time"))
			s.does("abort", c.end(false))
			if x.ended() {
				mend()
				resp := kmsg.NewPtrProduceResponse()
				resp.SetVersion(wireProduce)
				if err := late.receive(resp, 10*time.Second); err != nil || resp.Topics[0].Partitions[0].ErrorCode != kerr.InvalidTxnState.Code {
					t.Errorf("the late batch is answered with %+v, error %v", resp.Topics, err)
				}
				x.ended()
			}
		}
		late.close()
		s.close()
		for _, wrong := range s.seen.wrong {
			t.Error(wrong)
		}
	})
}
