package txn

import (
	"testing"

	"github.com/gracchus-mq/gracchus/config"
)

// What ids may take in memory is what the property says, and else what is at hand.
func TestMemoryBytes(t *testing.T) {
	for value, want := range map[string]int64{"0": 7, "5": 5} {
		settings, _, err := config.Parse(map[string]string{"zookeeper.connect": "embedded", "gracchus.transaction.memory.bytes": value})
		if err != nil {
			t.Fatal(err)
		}
		if got := SettingsOf(settings.Broker(), 7).MemoryBytes; got != want {
			t.Errorf("%s: %d, want %d", value, got, want)
		}
	}
}
