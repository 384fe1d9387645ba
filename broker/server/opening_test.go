package server

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
)

// startHeld runs a server that is not open yet, with a listener that brokers use and one
// that is for clients only.
func startHeld(t *testing.T) (s *Server, brokers, clients *inproc.Listener) {
	t.Helper()
	brokers, clients = inproc.Listen("brokers"), inproc.Listen("clients")
	s, err := New(Config{Held: true}, []Route{
		echoRoute(),
		{Key: protocol.ApiVersions, Max: 2, Handle: echo},
		{Key: protocol.UpdateMetadata, Max: 5, InterBroker: true, Handle: echo},
	}, []Listener{{Listener: brokers, Name: "BROKERS", InterBroker: true}, {Listener: clients, Name: "CLIENTS"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, brokers, clients
}

// Before Open brokers are answered; clients wait, whichever listener they come by,
// and have their answers as soon as it is called.
func TestHeldServerAnswersBrokersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, brokers, clients := startHeld(t)
		asks := func(l *inproc.Listener, f []byte) (answer func() string, waits func() bool) {
			got := make(chan string, 1)
			go func() {
				defer close(got)
				c, err := l.Dial(t.Context()) // returns once the server has accepted it
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				c.Write(f)
				b, err := protocol.ReadFrame(c, 100, nil)
				if err != nil {
					t.Error(err)
					return
				}
				got <- string(b[4:])
			}()
			return func() string { return <-got }, func() bool {
				synctest.Wait()
				return len(got) == 0
			}
		}
		for _, key := range []protocol.APIKey{protocol.UpdateMetadata, protocol.ApiVersions} {
			answer, waits := asks(brokers, frame(key, 1, 1, "now"))
			if waits() || answer() != "now" {
				t.Errorf("%s is not answered before Open", key)
			}
		}
		early, earlyWaits := asks(brokers, frame(protocol.Metadata, 1, 1, "early"))
		late, lateWaits := asks(clients, frame(protocol.ApiVersions, 1, 1, "late"))
		if !earlyWaits() || !lateWaits() {
			t.Error("a client is answered before Open")
		}
		s.Open()
		s.Open()
		if e, l := early(), late(); e != "early" || l != "late" {
			t.Errorf("after Open clients are answered %q and %q", e, l)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What is not served is refused also while clients wait.
func TestHeldServerRefusesUnknownKeys(t *testing.T) {
	s, brokers, _ := startHeld(t)
	c, err := brokers.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	write(t, c, frame(protocol.Produce, 3, 1, ""))
	expectClosed(t, c)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A broker that stops before it was ready keeps nobody waiting.
func TestHeldServerEnds(t *testing.T) {
	for name, end := range map[string]func(*Server, context.Context) error{"drain": (*Server).Drain, "stop": (*Server).Stop} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, brokers, _ := startHeld(t)
				c, err := brokers.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				write(t, c, frame(protocol.Metadata, 1, 1, "early"))
				synctest.Wait()
				if err := end(s, t.Context()); err != nil {
					t.Error(err)
				}
				expectClosed(t, c)
				if err := s.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
