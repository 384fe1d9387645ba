package producerstate

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

func newVerifying(t testing.TB) *partition {
	p := newPartition(t)
	p.RequireVerification(func() bool { return true })
	return p
}

func (p *partition) begin(s spec) *Verification {
	return p.BeginVerification(s.pid, s.epoch, s.seq, s.ts)
}

// refuses expects that a batch is refused, and with which error; nil if it is not.
func (p *partition) refuses(what string, s spec, origin Origin, want error) {
	p.t.Helper()
	if _, err := p.Check(s.at(p.t, p.EndOffset()), origin); !errors.Is(err, want) || want == nil && err != nil {
		p.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestVerification(t *testing.T) {
	p := newVerifying(t)
	first := spec{pid: 1, epoch: 3, txn: true}
	for _, o := range []Origin{record.Client, record.Coordinator} {
		p.refuses("not verified", first, o, kerr.InvalidTxnState)
	}
	p.refuses("from the leader", first, record.Replication, nil)
	p.refuses("in no transaction", spec{pid: 1, epoch: 3}, record.Client, nil)
	p.refuses("a marker", spec{pid: 1, epoch: 3, marker: "abort"}, record.Coordinator, nil)

	v := p.begin(first)
	p.refuses("asked", first, record.Client, kerr.InvalidTxnState)
	p.EndVerification(1, v, true)
	p.refuses("of another epoch", spec{pid: 1, epoch: 4, txn: true}, record.Client, kerr.InvalidTxnState)
	p.must(first)
	if p.begin(first) != nil {
		t.Error("a transaction that is open is verified again")
	}
	p.must(spec{pid: 1, epoch: 3, seq: 1, txn: true})
	p.must(spec{pid: 1, epoch: 3, marker: "commit"})
	p.refuses("the next transaction", spec{pid: 1, epoch: 3, seq: 2, txn: true}, record.Client, kerr.InvalidTxnState)

	p.RequireVerification(func() bool { return false })
	p.refuses("not required", spec{pid: 1, epoch: 3, seq: 2, txn: true}, record.Client, nil)
	if p.begin(spec{pid: 1, epoch: 3}) != nil {
		t.Error("what is not required has begun")
	}
}

// An answer is of no use once a marker has come: the question was about the transaction
// that it ended.
func TestVerificationIsLate(t *testing.T) {
	p := newVerifying(t)
	first := spec{pid: 1, txn: true}
	v := p.begin(first)
	p.must(spec{pid: 1, marker: "abort"})
	p.EndVerification(1, v, true)
	p.refuses("after the marker", first, record.Client, kerr.InvalidTxnState)

	v = p.begin(first)
	p.EndVerification(1, v, true)
	p.must(spec{pid: 1, marker: "abort"})
	p.refuses("verified before the marker", first, record.Client, kerr.InvalidTxnState)

	older := p.begin(first)
	newer := p.begin(spec{pid: 1, epoch: 1, txn: true})
	again := p.begin(first)
	p.EndVerification(1, older, true)
	p.EndVerification(1, again, true)
	p.refuses("of the older epoch", spec{pid: 1, epoch: 1, txn: true}, record.Client, kerr.InvalidTxnState)
	p.EndVerification(1, newer, true)
	p.refuses("of its own epoch", spec{pid: 1, epoch: 1, txn: true}, record.Client, nil)
}

// Two requests ask at a time: one answer is enough, and the first of them is the first
// batch.
func TestVerificationIsShared(t *testing.T) {
	p := newVerifying(t)
	second := p.begin(spec{pid: 1, seq: 5, txn: true})
	first := p.begin(spec{pid: 1, seq: 0, txn: true})
	p.EndVerification(1, second, true)
	p.EndVerification(1, first, false)
	p.refuses("the second batch", spec{pid: 1, seq: 5, txn: true}, record.Client, kerr.OutOfOrderSequenceNumber)
	p.refuses("offsets, which have no sequence", spec{pid: 1, seq: 5, txn: true}, record.Coordinator, nil)
	p.must(spec{pid: 1, seq: 0, n: 5, txn: true}, spec{pid: 1, seq: 5, txn: true})
	if len(p.verifying) != 0 {
		t.Errorf("%v", p.verifying)
	}
}

// What was asked in vain takes no memory, nor for ever does what was.
func TestVerificationIsForgotten(t *testing.T) {
	p := newVerifying(t)
	v, w := p.begin(spec{pid: 1, txn: true}), p.begin(spec{pid: 1, txn: true})
	p.EndVerification(1, v, false)
	if len(p.verifying) != 1 {
		t.Error("forgotten while the coordinator is asked")
	}
	p.EndVerification(1, w, false)
	if len(p.verifying) != 0 {
		t.Errorf("%v", p.verifying)
	}
	p.EndVerification(2, p.begin(spec{pid: 2, txn: true, ts: 1000}), true)
	asked := p.begin(spec{pid: 3, txn: true, ts: 1000})
	p.Expire(1000 + day.Milliseconds() - 1)
	if len(p.verifying) != 2 {
		t.Errorf("%v", p.verifying)
	}
	p.Expire(1000 + 2*day.Milliseconds())
	if len(p.verifying) != 1 || p.verifying[3] != asked {
		t.Errorf("%v", p.verifying)
	}
}
