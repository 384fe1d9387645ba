package topics

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Who asks for a topic while somebody makes it is told to ask again; the request
// does not go to ZooKeeper, which this Manager does not have.
func TestAutoCreateWhileItIsBeingCreated(t *testing.T) {
	m := &Manager{creating: map[string]bool{}}
	if !m.claim("a") {
		t.Fatal("nobody makes the topic, and it cannot be claimed")
	}
	if err := m.AutoCreate(t.Context(), "a"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("while it is being created: %v", err)
	}
	m.release("a")
	if !m.claim("a") {
		t.Error("it cannot be claimed again after its release")
	}
}
