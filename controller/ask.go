package controller

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
)

// question is a request of which the loop works out the answer, when its turn comes.
type question struct {
	office *office // that was asked
	// work finds the answer and hands it over. Its error ends the term; whoever asked
	// learns of that by the end of the office.
	work func(t *term) error
}

// ask has the loop work out an answer and waits for it. The error is
// kerr.NotController if this broker is not controller, or not any more; all of the
// work may have been done even so.
func ask[A any](ctx context.Context, c *Controller, work func(t *term) (A, error)) (answer A, err error) {
	o := c.office()
	if o == nil {
		return answer, kerr.NotController
	}
	answers := make(chan A, 1)
	c.inbox.put(func(e *events) {
		e.questions = append(e.questions, &question{o, func(t *term) error {
			if ctx.Err() != nil {
				return nil // nobody waits any more
			}
			answer, err := work(t)
			if err == nil {
				answers <- answer
			}
			return err
		}})
	})
	return await(ctx, o, answers)
}

// await waits for the loop's answer, as long as the office that was asked lasts.
func await[A any](ctx context.Context, o *office, answers <-chan A) (answer A, err error) {
	select {
	case answer = <-answers:
		return answer, nil
	case <-o.ctx.Done():
		return answer, kerr.NotController
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	}
}

// inPower says whether the office that was asked is the loop's term still.
func (o *office) inPower() bool { return o.ctx.Err() == nil }

// answer works through questions in the order in which they came.
func (t *term) answer(questions []*question) error {
	for _, q := range questions {
		if !q.office.inPower() {
			continue
		}
		if err := q.work(t); err != nil {
			return err
		}
	}
	return nil
}
