package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

const (
	grownPerConnection = "kB/connection"
	grown              = "grown MB"
)

// connectionsCell is the only one of its scenario.
const connectionsCell = "idle connections"

// connectionsScenario measures what connections cost in which nothing happens
// after a client's first request. Each round has a new broker, as memory grows
// only once.
func connectionsScenario(b *bench) error {
	var turns []turn
	for _, subject := range b.brokers {
		turns = append(turns, turn{subject, func() (Values, error) {
			broker := b.start(subject)
			values, err := b.connectionsOnce(broker)
			if err != nil {
				return nil, err
			}
			broker.StopCleanly(b)
			return values, nil
		}})
	}
	b.progress.at(0, 1, connectionsCell)
	rounds, err := b.rounds(connectionsCell, b.scale.long, turns)
	if err != nil {
		return err
	}
	b.add(Cell{Name: connectionsCell, Rounds: rounds})
	return nil
}

func (b *bench) connectionsOnce(broker *harness.Broker) (values Values, err error) {
	open := make([]net.Conn, 0, b.scale.connections)
	defer func() {
		for _, conn := range open {
			err = errors.Join(err, conn.Close())
		}
	}()
	dial := func() error {
		conn, err := firstRequest(broker.Addr)
		if err == nil {
			open = append(open, conn)
		}
		return err
	}
	for range 20 { // what a broker needs for the first ones only
		if err := dial(); err != nil {
			return nil, err
		}
	}
	time.Sleep(b.scale.idle / 2)
	before, err := memoryOf(broker.Pid())
	if err != nil {
		return nil, err
	}
	for range b.scale.connections - len(open) {
		if err := dial(); err != nil {
			return nil, fmt.Errorf("connection %d: %w", len(open)+1, err)
		}
	}
	values, err = b.idle(cluster{broker})
	if err != nil {
		return nil, err
	}
	after, err := memoryOf(broker.Pid())
	if err != nil {
		return nil, err
	}
	more := float64(after.resident - before.resident)
	values[grown], values[grownPerConnection] = more/1e6, more/1e3/float64(b.scale.connections)
	values[resident], values[peak] = float64(after.resident)/1e6, float64(after.peak)/1e6
	return values, nil
}

// firstRequest opens a connection and asks for the broker's versions, as every
// client does first.
func firstRequest(addr string) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrApiVersionsRequest()
	request.SetVersion(3)
	request.ClientSoftwareName, request.ClientSoftwareVersion = "bench", "1"
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)); err != nil {
		conn.Close()
		return nil, err
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		conn.Close()
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(size))); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

func connectionsTables(r *Results) string {
	m := r.of("connections")
	c := m.cell(connectionsCell)
	var rows [][]string
	for _, what := range []struct{ name, value string }{
		{"memory that they add, MB", grown},
		{"a connection, kB", grownPerConnection},
		{"resident with them, MB", resident},
		{"processor ms a minute", cpuPerMinute},
	} {
		rows = append(rows, []string{what.name, number(c.median(ours, what.value)), number(c.median(kafka, what.value)), spread(c.ratios(ours, kafka, what.value))})
	}
	return table("lrrr", []string{"", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}
