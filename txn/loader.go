package txn

import (
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// loader makes states of the records of a partition: of each id the last one.
type loader struct {
	ids          map[string]value
	skipped      int
	firstSkipped error
}

func newLoader() *loader { return &loader{ids: map[string]value{}} }

// maxOpened bounds what a compressed batch may become, in bytes.
const maxOpened = 1 << 30

// add adds a batch. Errors are those of a batch that cannot be read.
func (l *loader) add(b record.Batch) error {
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if b.IsControl() {
		return nil
	}
	for r, err := range b.Records(maxOpened) {
		if err != nil {
			return err
		}
		if err := l.addRecord(r); err != nil {
			if l.skipped == 0 {
				l.firstSkipped = fmt.Errorf("offset %d: %w", b.Offset(r), err)
			}
			l.skipped++
		}
	}
	return nil
}

func (l *loader) addRecord(r record.Record) error {
	id, err := parseKey(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		delete(l.ids, string(id))
		return nil
	}
	v, err := parseValue(r.Value)
	if err != nil {
		return err
	}
	l.ids[string(id)] = v
	return nil
}
