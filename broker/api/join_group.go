package api

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/group"
)

type joinGroup struct {
	groups *group.Coordinator
	codes  codes
}

func (h *joinGroup) handle(ctx context.Context, r *server.Request, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, error) {
	q := joinRequest(r, req)
	stopped := group.JoinResult{Err: kerr.NotCoordinator, MemberID: q.MemberID, Generation: group.NoGeneration}
	j, err := await(ctx, r, stopped, func(reply func(group.JoinResult)) { h.groups.Join(q, reply) })
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode = h.codes.of(j.Err)
	resp.Generation = j.Generation
	resp.MemberID = j.MemberID
	resp.LeaderID = j.Leader
	resp.SkipAssignment = j.SkipAssignment
	if j.ProtocolType != "" {
		resp.ProtocolType, resp.Protocol = &j.ProtocolType, &j.Protocol
	}
	size := smallBody
	resp.Members = make([]kmsg.JoinGroupResponseMember, len(j.Members))
	for i, m := range j.Members {
		resp.Members[i] = kmsg.JoinGroupResponseMember{MemberID: m.ID, InstanceID: m.InstanceID, ProtocolMetadata: m.Metadata}
		size += 2*len(m.ID) + len(m.Metadata)
	}
	if len(j.Members) > 0 {
		r.Expect(size)
	}
	return resp, nil
}

func joinRequest(r *server.Request, req *kmsg.JoinGroupRequest) *group.JoinRequest {
	version := r.Header.Version
	q := &group.JoinRequest{
		Group: req.Group, MemberID: req.MemberID, InstanceID: req.InstanceID,
		ClientID: r.Header.ClientID, ClientHost: javaAddress(r.ClientHost),
		SessionTimeout:    time.Duration(req.SessionTimeoutMillis) * time.Millisecond,
		RebalanceTimeout:  time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		ProtocolType:      req.ProtocolType,
		Protocols:         make([]group.Protocol, len(req.Protocols)),
		TwoSteps:          version >= 4,
		CanSkipAssignment: version >= 9,
	}
	if version == 0 {
		q.RebalanceTimeout = q.SessionTimeout
	}
	for i, p := range req.Protocols {
		q.Protocols[i] = group.Protocol{Name: p.Name, Metadata: p.Metadata}
	}
	return q
}

// javaAddress is an address as InetAddress.toString spells it, which is how groups have
// it in __consumer_offsets and in DescribeGroups.
func javaAddress(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "/" + host
	}
	if addr = addr.Unmap(); addr.Is4() {
		return "/" + addr.String()
	}
	b := addr.As16()
	text := make([]byte, 0, 48)
	for i := 0; i < len(b); i += 2 {
		text = fmt.Appendf(append(text, ':'), "%x", uint16(b[i])<<8|uint16(b[i+1]))
	}
	text[0] = '/'
	if zone := addr.Zone(); zone != "" {
		text = append(append(text, '%'), zone...)
	}
	return string(text)
}
