package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

// passwordSize is that of a session's password, in bytes.
const passwordSize = 16

// errSessionGone is what a server answers to the resumption of a session that has
// expired.
var errSessionGone = errors.New("the session has expired")

// identity is what a session is resumed with.
type identity struct {
	id       ID
	password []byte
	timeout  time.Duration
}

// handshake establishes or resumes a session on a fresh connection. who.id 0 asks
// for a new session. It ends with ctx, which the caller bounds.
func handshake(ctx context.Context, nc net.Conn, in *bufio.Reader, who identity, lastZxid int64, maxPacket int) (identity, error) {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	password := who.password
	if who.id == 0 {
		password = make([]byte, passwordSize)
	}
	request := zkproto.ConnectRequest{
		LastZxidSeen: lastZxid,
		TimeoutMS:    int32(who.timeout.Milliseconds()),
		SessionID:    int64(who.id),
		Password:     password,
		HasReadOnly:  true,
	}
	if _, err := nc.Write(zkproto.AppendFrame(nil, &request)); err != nil {
		return identity{}, fmt.Errorf("connect request: %w", err)
	}
	frame, err := zkproto.ReadFrame(in, maxPacket, nil)
	if err != nil {
		// A server that has seen less than we have, or is not serving, says nothing.
		return identity{}, fmt.Errorf("no answer to the connect request: %w", err)
	}
	var answer zkproto.ConnectResponse
	if err := zkproto.Unmarshal(frame, &answer); err != nil {
		return identity{}, fmt.Errorf("answer to the connect request: %w", err)
	}
	switch {
	case answer.TimeoutMS <= 0 || answer.SessionID == 0:
		if who.id == 0 {
			return identity{}, errors.New("the server refused to open a session")
		}
		return identity{}, errSessionGone
	case answer.ReadOnly:
		return identity{}, errors.New("the server has no quorum and is read-only")
	case who.id != 0 && ID(answer.SessionID) != who.id:
		return identity{}, fmt.Errorf("the server answered for session %v", ID(answer.SessionID))
	}
	if !stop() {
		return identity{}, context.Cause(ctx)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return identity{}, err
	}
	return identity{
		id:       ID(answer.SessionID),
		password: answer.Password,
		timeout:  time.Duration(answer.TimeoutMS) * time.Millisecond,
	}, nil
}

// Dissolve ends the session of a process that has died without closing it, so that
// its ephemeral nodes go at once and not after the session timeout: it resumes the
// session, which proves by its password that it is entitled to, and closes it. It
// returns nil as well if the session was gone already. It tries the servers of cfg
// until one answers or ctx ends.
//
// The caller must know that the process is dead. If it is not, it is told that its
// session has expired.
func Dissolve(ctx context.Context, cfg Config, id ID, password []byte) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if id == 0 {
		return nil
	}
	who := identity{id: id, password: password, timeout: cfg.SessionTimeout}
	servers := newServerList(cfg.Servers)
	for {
		err := dissolveAt(ctx, cfg, servers.next(), who)
		if err == nil || errors.Is(err, errSessionGone) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("dissolve zookeeper session %v: %w", id, errors.Join(context.Cause(ctx), err))
		}
		servers.pause(ctx)
	}
}

func dissolveAt(ctx context.Context, cfg Config, server string, who identity) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout(who.timeout, len(cfg.Servers)))
	defer cancel()
	nc, err := cfg.Dial(ctx, server)
	if err != nil {
		return err
	}
	defer nc.Close()
	in := bufio.NewReader(nc)
	if _, err := handshake(ctx, nc, in, who, 0, cfg.MaxPacketBytes); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	const xid = 1
	if _, err := nc.Write(zkproto.AppendRequest(nil, zkproto.RequestHeader{XID: xid, Op: zkproto.OpCloseSession}, nil)); err != nil {
		return fmt.Errorf("close session: %w", err)
	}
	for {
		frame, err := zkproto.ReadFrame(in, cfg.MaxPacketBytes, nil)
		if err != nil {
			return fmt.Errorf("close session: %w", err)
		}
		h, _, err := zkproto.ParseReply(frame)
		if err != nil {
			return err
		}
		if h.XID == xid {
			return h.Err.AsError()
		}
	}
}
