package txn

import "time"

// expire forgets the id if nobody has used it for long, and reports whether it does.
func (t *transaction) expire(now time.Time, fx *effects) bool {
	idle := now.UnixMilli() - t.updateMS
	if !t.known || t.busy() || t.state == Ongoing || t.state == Dead || idle < t.limits.Expiration.Milliseconds() {
		return false
	}
	t.changeTo(now, t.value, nil, fx).tombstone = true
	return true
}
