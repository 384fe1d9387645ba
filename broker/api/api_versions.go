package api

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
)

// maxApiVersions is the highest version of ApiVersions that is served.
const maxApiVersions = 4

// softwareName is what KIP-511 allows as a client's name and version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// apiVersions announces the table of routes.
type apiVersions struct {
	keys []kmsg.ApiVersionsResponseApiKey // ascending
	// featureEpoch is the version of the cluster's finalized features: the data
	// version of /feature; −1 before it is known.
	featureEpoch func() int64
}

// announce is told the whole table once, before the first request.
func (h *apiVersions) announce(routes []server.Route) {
	for _, r := range routes {
		h.keys = append(h.keys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(r.Key), MinVersion: r.Min, MaxVersion: r.Max})
	}
}

func (h *apiVersions) handle(_ context.Context, r *server.Request) error {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.FinalizedFeaturesEpoch = -1
	if r.Header.Version > maxApiVersions || r.Header.Version < 0 {
		// The client is newer than we are. It can read version 0, and there it
		// finds which version of ApiVersions to ask in (KIP-511).
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: int16(protocol.ApiVersions), MaxVersion: maxApiVersions}}
		r.RespondVersion(resp, 0)
		return nil
	}
	m, err := protocol.DecodeRequestWithin(r.Header, r.Body, maxElements)
	if err != nil {
		return err
	}
	req := m.(*kmsg.ApiVersionsRequest)
	if r.Header.Version >= 3 {
		if !softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			r.Respond(resp)
			return nil
		}
		r.SetClientSoftware(req.ClientSoftwareName, req.ClientSoftwareVersion)
		resp.FinalizedFeaturesEpoch = h.featureEpoch()
	}
	resp.ApiKeys = h.keys
	r.Respond(resp)
	return nil
}
