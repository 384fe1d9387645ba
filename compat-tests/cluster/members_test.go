package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// onBoth runs a test with an Apache ZooKeeper and with the one inside broker 1.
func onBoth(t *testing.T, test func(t *testing.T, o harness.ClusterOptions)) {
	t.Run("ZooKeeper", func(t *testing.T) { test(t, harness.ClusterOptions{}) })
	t.Run("embedded", func(t *testing.T) { test(t, harness.ClusterOptions{Embedded: true}) })
}

// each has a client for each broker, which asks only that one unless it has to.
func each(t *testing.T, c *harness.Cluster, opts ...kgo.Opt) []*kgo.Client {
	t.Helper()
	var all []*kgo.Client
	for _, addr := range c.Addrs() {
		all = append(all, client(t, []string{addr}, opts...))
	}
	return all
}

// TestMembers: three brokers know each other, and clients of any of them find all that
// is on the others.
func TestMembers(t *testing.T) {
	onBoth(t, func(t *testing.T, o harness.ClusterOptions) {
		c := harness.StartCluster(t, o)
		clients := each(t, c)
		for i, broker := range clients {
			eventually(t, 10*time.Second, fmt.Sprintf("broker %d knows all three and the controller", i+1), func() bool {
				m := describe(t.Context(), broker, "none")
				return m != nil && len(m.Brokers) == 3 && m.ControllerID > 0
			})
			resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), broker)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			for _, b := range resp.Brokers {
				told = append(told, fmt.Sprintf("%s:%d", b.Host, b.Port))
			}
			if got, want := strings.Join(told, " "), strings.Join(c.Addrs(), " "); got != want {
				t.Errorf("broker %d tells of %s, want %s", i+1, got, want)
			}
		}

		// One replica each, so that every broker leads some.
		create(t, clients[1], "spread", 9, 1, nil)
		leads := map[int32]int{}
		eventually(t, 10*time.Second, "the topic is led", func() bool {
			clear(leads)
			m := describe(t.Context(), clients[2], "spread")
			for _, p := range m.Topics[0].Partitions {
				if p.Leader >= 0 {
					leads[p.Leader]++
				}
			}
			return leads[1]+leads[2]+leads[3] == 9
		})
		if leads[1] != 3 || leads[2] != 3 || leads[3] != 3 {
			t.Errorf("partitions led by broker: %v", leads)
		}
		for _, broker := range clients {
			produce(t, broker, "spread", 9, 2)
		}
		for i, broker := range clients {
			for p, end := range ends(t, broker, "spread") {
				if end != 6 {
					t.Errorf("by broker %d: partition %d ends at %d", i+1, p, end)
				}
			}
		}

		// Any broker makes topics that are produced to before they exist.
		for i := range clients {
			topic := fmt.Sprintf("auto-%d", i)
			produce(t, client(t, c.Addrs()[i:i+1], kgo.AllowAutoTopicCreation()), topic, 1, 1)
		}
		for _, m := range c.Members {
			if m.ID != 1 {
				m.Terminate(20 * time.Second)
			}
		}
		c.Member(1).Terminate(20 * time.Second) // the last one, and perhaps the home of the ZooKeeper
	})
}

// TestRacks: clients are told where brokers stand.
func TestRacks(t *testing.T) {
	c := harness.StartCluster(t, harness.ClusterOptions{Brokers: 1, Embedded: true, Properties: []string{"broker.rack=a-rack"}})
	brokers, err := kadm.NewClient(client(t, c.Addrs())).ListBrokers(t.Context())
	if err != nil || len(brokers) != 1 || brokers[0].Rack == nil || *brokers[0].Rack != "a-rack" {
		t.Errorf("brokers %+v (%v)", brokers, err)
	}
}

// TestBounce: a broker that was stopped, or killed, and is started again is back at
// once, in the place that it had.
func TestBounce(t *testing.T) {
	c := harness.StartCluster(t, harness.ClusterOptions{})
	clients := each(t, c)
	create(t, clients[0], "t", 6, 1, nil)
	produce(t, clients[0], "t", 6, 1)
	for i, end := range []func(*harness.Member){
		func(m *harness.Member) { m.Terminate(20 * time.Second) },
		func(m *harness.Member) { m.Kill() },
	} {
		for _, m := range c.Members {
			end(m)
			m.Start()
			if strings.Contains(m.Output(), "waiting for the registration") {
				t.Errorf("broker %d has waited for the registration of its predecessor", m.ID)
			}
		}
		produce(t, clients[i], "t", 6, 1)
	}
	for p, end := range ends(t, client(t, c.Addrs()), "t") { // connections of the others may have broken
		if end != 3 {
			t.Errorf("partition %d ends at %d", p, end)
		}
	}
}

// TestControllerKilled: another broker takes over, in time, and topics can be made.
func TestControllerKilled(t *testing.T) {
	c := harness.StartCluster(t, harness.ClusterOptions{})
	clients := each(t, c)
	create(t, clients[0], "before", 3, 1, nil)
	old := controllerOf(t, clients[0])
	other := clients[old%3] // broker old+1
	c.Member(old).Kill()
	took := eventually(t, takeover, "another broker is controller", func() bool {
		now := controllerOf(t, other)
		return now > 0 && now != old
	})
	t.Logf("a controller was there after %v", took.Round(time.Millisecond))
	create(t, client(t, c.Addrs()), "after", 3, 1, nil)
	c.Member(old).Start()
	produce(t, other, "before", 3, 1)
	produce(t, other, "after", 3, 1)
}

// TestEmbeddedRestart: the broker that has everybody's ZooKeeper inside may go and come
// back; the others keep their sessions.
func TestEmbeddedRestart(t *testing.T) {
	c := harness.StartCluster(t, harness.ClusterOptions{Embedded: true})
	clients := each(t, c)
	create(t, clients[0], "t", 6, 1, nil)
	produce(t, clients[0], "t", 6, 1)
	for _, end := range []func(*harness.Member){
		func(m *harness.Member) { m.Terminate(20 * time.Second) },
		func(m *harness.Member) { m.Kill() },
	} {
		end(c.Member(1))
		c.Member(1).Start()
		for _, broker := range clients {
			eventually(t, takeover, "every broker is known again, and a controller", func() bool {
				m := describe(t.Context(), broker, "none")
				return m != nil && len(m.Brokers) == 3 && m.ControllerID > 0
			})
		}
		produce(t, clients[1], "t", 6, 1)
	}
	create(t, client(t, c.Addrs()), "u", 3, 1, nil)
	produce(t, clients[2], "u", 3, 1)
}
