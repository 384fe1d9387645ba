package group

import "github.com/twmb/franz-go/pkg/kerr"

// What members are told every day, and no text would help with: these are the plain
// errors of Kafka.
var (
	errDead               error = kerr.CoordinatorNotAvailable
	errFenced             error = kerr.FencedInstanceID
	errIllegalGeneration  error = kerr.IllegalGeneration
	errInconsistent       error = kerr.InconsistentGroupProtocol
	errLoading            error = kerr.CoordinatorLoadInProgress
	errMemberIDRequired   error = kerr.MemberIDRequired
	errMetadataTooLarge   error = kerr.OffsetMetadataTooLarge
	errNotCoordinator     error = kerr.NotCoordinator
	errRebalancing        error = kerr.RebalanceInProgress
	errSizeReached        error = kerr.GroupMaxSizeReached
	errUnknownMember      error = kerr.UnknownMemberID
	errUnknownServerError error = kerr.UnknownServerError
)
