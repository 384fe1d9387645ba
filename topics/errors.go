package topics

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// refusal is a Kafka error with the text that clients see.
type refusal struct {
	kind *kerr.Error
	text string
}

func refuse(kind *kerr.Error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }
