package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
)

// member is broker id of a cluster on the network's ZooKeeper.
func member(id int) map[string]string {
	return map[string]string{
		"broker.id": fmt.Sprint(id), "listeners": "PLAINTEXT://" + memberAddress(id),
		"zookeeper.connect": elsewhereAddress, "zookeeper.session.timeout.ms": "6000",
	}
}

func memberAddress(id int) string { return fmt.Sprintf("10.0.0.%d:9092", id) }

// Three brokers come up, one after the other, each at once, and know of each other;
// each hosts what it is given, and any of them may go and come back. When the
// controller leaves another one takes over.
func TestThreeMembersInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &elsewhere{t: t, host: newHost()}
		z.up()
		defer z.down()
		hosts, brokers := map[int]*host{}, map[int]*Broker{}
		start := func(id int) {
			t.Helper()
			began := time.Now()
			brokers[id] = hosts[id].start(t, member(id))
			if took := time.Since(began); took > time.Second {
				t.Errorf("broker %d took %v to start", id, took)
			}
		}
		sees := func(id, controller int, ids ...int32) {
			t.Helper()
			if _, err := brokers[id].parts.view.Wait(t.Context(), func(s *cluster.Snapshot) bool {
				var live []int32
				for _, b := range s.Brokers() {
					live = append(live, b.ID)
				}
				return int(s.ControllerID()) == controller && slices.Equal(live, ids)
			}); err != nil {
				t.Errorf("broker %d does not see %v with controller %d", id, ids, controller)
			}
		}
		for id := 1; id <= 3; id++ {
			hosts[id] = z.host.neighbour()
			start(id)
		}
		for id := 1; id <= 3; id++ {
			sees(id, 1, 1, 2, 3)
		}
		c := hosts[1].client(t, kgo.SeedBrokers(memberAddress(2)))
		defer c.Close()
		createTopic(t, c, "t", 3, nil)
		produce(t, c, "t", 3, "first")

		stop(t, brokers[3])
		sees(2, 1, 1, 2)
		start(3)
		sees(3, 1, 1, 2, 3)
		produce(t, c, "t", 3, "second")

		stop(t, brokers[1])
		if _, err := brokers[2].parts.view.Wait(t.Context(), func(s *cluster.Snapshot) bool { return s.ControllerID() > 1 }); err != nil {
			t.Fatal(err)
		}
		createTopic(t, c, "u", 2, nil)
		start(1)
		sees(1, int(brokers[2].parts.view.Snapshot().ControllerID()), 1, 2, 3)
		produce(t, c, "t", 3, "third")
		produce(t, c, "u", 2, "first")

		for id := 1; id <= 3; id++ {
			began := time.Now()
			stop(t, brokers[id])
			if took := time.Since(began); id == 3 && took > time.Second {
				t.Errorf("the last broker took %v to stop", took)
			}
		}
	})
}

// An address can be that of one broker only.
func TestRefusesTakenAddressInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &elsewhere{t: t, host: newHost()}
		z.up()
		defer z.down()
		first := z.host.neighbour().start(t, member(1))
		defer stop(t, first)

		properties := member(2)
		properties["advertised.listeners"] = "PLAINTEXT://" + memberAddress(1)
		properties["log.dirs"] = "/a"
		settings, _, err := config.Parse(properties)
		if err != nil {
			t.Fatal(err)
		}
		second, err := New(settings, z.host.neighbour().env())
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "10.0.0.1:9092 is registered by broker 1") {
			t.Errorf("broker 2 started at the address of broker 1, or does not say why not: %v", err)
		}
		live, _, err := first.parts.zk.Brokers(t.Context(), nil, nil)
		if err != nil || len(live) != 1 || live[0].ID != 1 {
			t.Errorf("registered are %+v (%v)", live, err)
		}
	})
}
