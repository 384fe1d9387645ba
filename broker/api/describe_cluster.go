package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
)

// brokersEndpoint is DescribeCluster's name for what every broker has; the other
// kind is a KRaft controller's (KIP-919).
const brokersEndpoint = 1

type describeCluster struct {
	clusterID string
	view      *cluster.View
}

func (h *describeCluster) handle(_ context.Context, r *server.Request, req *kmsg.DescribeClusterRequest) (*kmsg.DescribeClusterResponse, error) {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.EndpointType = brokersEndpoint
	resp.ControllerID = -1
	resp.ClusterAuthorizedOperations = noOperations
	if r.Header.Version >= 1 && req.EndpointType != brokersEndpoint {
		if req.EndpointType == 2 {
			resp.ErrorCode = kerr.MismatchedEndpointType.Code
			resp.ErrorMessage = stringPtr("The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		} else {
			resp.ErrorCode = kerr.UnsupportedEndpointType.Code
			resp.ErrorMessage = stringPtr(fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType))
		}
		return resp, nil
	}
	s := h.view.Snapshot()
	resp.ClusterID = h.clusterID
	resp.ControllerID = s.ControllerID()
	for _, b := range s.Brokers() {
		if e, ok := b.Endpoint(r.Listener.Name); ok {
			resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: b.ID, Host: e.Host, Port: e.Port, Rack: rackPtr(b)})
		}
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp, nil
}
