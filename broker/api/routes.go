package api

import (
	"cmp"
	"errors"
	"log/slog"
	"runtime"
	"slices"

	"github.com/gracchus-mq/gracchus/broker/fetch"
	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/storage"
	"github.com/gracchus-mq/gracchus/txn"
)

// Deps are what the handlers need, each of them a part.
type Deps struct {
	BrokerID  int32
	ClusterID string
	// BrokerEpoch is the epoch of the broker's current registration.
	BrokerEpoch func() int64
	// FeatureEpoch is the data version of /feature, −1 while unknown.
	FeatureEpoch func() int64

	Settings    *config.Settings
	View        *cluster.View
	Store       *storage.Store
	Replicas    *replica.Replicas
	Topics      Topics
	Controller  Controller
	ProducerIDs ProducerIDs
	Groups      *group.Coordinator
	// Transactions, and Peers, by which partitions are verified with other brokers'
	// coordinators.
	Transactions *txn.Coordinator
	Peers        Peers
	OldOffsets   OldOffsets
	Logger       *slog.Logger
}

func (d *Deps) validate() error {
	if d.BrokerEpoch == nil || d.FeatureEpoch == nil || d.Settings == nil || d.View == nil || d.Store == nil ||
		d.Replicas == nil || d.Topics == nil || d.Controller == nil || d.ProducerIDs == nil || d.Groups == nil ||
		d.Transactions == nil || d.Peers == nil || d.OldOffsets == nil {
		return errors.New("api: a dependency is missing")
	}
	return nil
}

// Routes is the table of what the broker answers: API keys, versions, handlers.
// The versions are those of Kafka 3.9.
func Routes(d Deps) ([]server.Route, error) {
	if err := d.validate(); err != nil {
		return nil, err
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	codes := codes{log: d.Logger}
	sessions, err := fetch.New(int(d.Settings.Broker().Fetch.MaxSessions), lookupIn(d.View, d.Replicas))
	if err != nil {
		return nil, err
	}
	versions := &apiVersions{featureEpoch: d.FeatureEpoch}
	from := &fromController{brokerEpoch: d.BrokerEpoch}

	timeout := d.Settings.Broker().RequestTimeout
	verifier := &verifyTxn{brokerID: d.BrokerID, view: d.View, txns: d.Transactions, peers: d.Peers, timeout: timeout}
	produceHandler := &produce{view: d.View, replicas: d.Replicas, verifier: verifier, codes: codes}
	fetchHandler := newFetchRecords(&d, sessions, codes)
	metadataHandler := &metadata{clusterID: d.ClusterID, view: d.View, settings: d.Settings, topics: d.Topics, codes: codes}
	listOffsetsHandler := &listOffsets{replicas: d.Replicas, codes: codes}
	epochHandler := &offsetForLeaderEpoch{view: d.View, replicas: d.Replicas, codes: codes}
	clusterHandler := &describeCluster{clusterID: d.ClusterID, view: d.View}

	findHandler := &findCoordinator{view: d.View, groups: d.Groups, txns: d.Transactions, topics: d.Topics, log: d.Logger}

	createHandler := &createTopics{controller: d.Controller, topics: d.Topics, settings: d.Settings, codes: codes}
	deleteHandler := &deleteTopics{controller: d.Controller, topics: d.Topics, settings: d.Settings, view: d.View, from: from, codes: codes}
	expandHandler := &createPartitions{controller: d.Controller, topics: d.Topics, codes: codes}
	electHandler := &electLeaders{controller: d.Controller, view: d.View, codes: codes}
	deleteRecordsHandler := &deleteRecords{view: d.View, replicas: d.Replicas, codes: codes}
	configsHandler := &describeConfigs{brokerID: d.BrokerID, view: d.View, settings: d.Settings, topics: d.Topics, codes: codes}
	alterHandler := &alterConfigs{view: d.View, topics: d.Topics, codes: codes}
	incrementalHandler := &incrementalAlterConfigs{view: d.View, topics: d.Topics, codes: codes}
	dirsHandler := &describeLogDirs{dirs: d.Store, codes: codes}

	oldOffsets := zookeeperOffsets{store: d.OldOffsets, view: d.View, groups: d.Groups, codes: codes}
	joinHandler := &joinGroup{groups: d.Groups, codes: codes}
	syncHandler := &syncGroup{groups: d.Groups, codes: codes}
	heartbeatHandler := &heartbeat{groups: d.Groups, codes: codes}
	leaveHandler := &leaveGroup{groups: d.Groups, codes: codes}
	commitHandler := &offsetCommit{view: d.View, groups: d.Groups, old: oldOffsets, codes: codes}
	committedHandler := newOffsetFetch(d.Groups, oldOffsets, codes)
	forgetHandler := &offsetDelete{view: d.View, groups: d.Groups, codes: codes}
	listGroupsHandler := &listGroups{groups: d.Groups, codes: codes}
	describeGroupsHandler := &describeGroups{groups: d.Groups, codes: codes}
	deleteGroupsHandler := &deleteGroups{groups: d.Groups, codes: codes}

	addPartitionsHandler := &addPartitionsToTxn{txns: d.Transactions, view: d.View, codes: codes}
	addOffsetsHandler := &addOffsetsToTxn{txns: d.Transactions, groups: d.Groups, find: findHandler, codes: codes}
	endTxnHandler := &endTxn{txns: d.Transactions, codes: codes}
	txnCommitHandler := &txnOffsetCommit{view: d.View, groups: d.Groups, replicas: d.Replicas, verifier: verifier, codes: codes}
	listTxnsHandler := &listTransactions{txns: d.Transactions, codes: codes}
	describeTxnsHandler := &describeTransactions{txns: d.Transactions, codes: codes}
	producersHandler := &describeProducers{view: d.View, replicas: d.Replicas, codes: codes}
	markersHandler := &writeTxnMarkers{replicas: d.Replicas, groups: d.Groups, timeout: timeout, codes: codes}

	leaderHandler := &leaderAndISR{from: from, replicas: d.Replicas, codes: codes}
	updateHandler := &updateMetadata{from: from, view: d.View, replicas: d.Replicas, groups: d.Groups, txns: d.Transactions, codes: codes}
	stopHandler := &stopReplica{from: from, replicas: d.Replicas, codes: codes}
	allocateHandler := &allocateProducerIDs{controller: d.Controller, codes: codes}
	alterISRHandler := &alterPartition{controller: d.Controller, view: d.View, codes: codes}
	shutdownHandler := &controlledShutdown{controller: d.Controller, codes: codes}

	// Slots of what only computes, which leaves one processor to those who produce and
	// fetch, and of what may wait for ZooKeeper, for topics (Metadata makes some) or for
	// other replicas.
	quick, slow := max(runtime.GOMAXPROCS(0)-1, 1), 16
	initHandler := newInitProducerID(d.ProducerIDs, d.Transactions, codes, slow)
	routes := []server.Route{
		// Records.
		{Key: protocol.Produce, Min: 0, Max: 11, Bulk: true, Overlap: true, OwnReplies: true, Handle: produceHandler.handle},
		{Key: protocol.Fetch, Min: 0, Max: 17, OwnReplies: true, Handle: fetchHandler.handle},
		{Key: protocol.ListOffsets, Min: 0, Max: 9, Slots: quick, Handle: decoded(listOffsetsHandler.handle)},
		{Key: protocol.OffsetForLeaderEpoch, Min: 0, Max: 4, Slots: quick, Handle: decoded(epochHandler.handle)},
		{Key: protocol.InitProducerId, Min: 0, Max: 5, Handle: decoded(initHandler.handle)},

		// What there is.
		{Key: protocol.ApiVersions, Min: 0, Max: maxApiVersions, AnyVersion: true, Handle: versions.handle},
		{Key: protocol.Metadata, Min: 0, Max: 12, Slots: slow, Handle: metadataHandler.handle},
		{Key: protocol.DescribeCluster, Min: 0, Max: 1, Handle: decoded(clusterHandler.handle)},

		// Groups.
		{Key: protocol.FindCoordinator, Min: 0, Max: 6, Slots: slow, Handle: decoded(findHandler.handle)},
		{Key: protocol.OffsetCommit, Min: 0, Max: 9, Handle: decoded(commitHandler.handle)},
		{Key: protocol.OffsetFetch, Min: 0, Max: 9, Handle: decoded(committedHandler.handle)},
		{Key: protocol.JoinGroup, Min: 0, Max: 9, Handle: decoded(joinHandler.handle)},
		{Key: protocol.Heartbeat, Min: 0, Max: 4, Handle: decoded(heartbeatHandler.handle)},
		{Key: protocol.LeaveGroup, Min: 0, Max: 5, Handle: decoded(leaveHandler.handle)},
		{Key: protocol.SyncGroup, Min: 0, Max: 5, Handle: decoded(syncHandler.handle)},
		{Key: protocol.DescribeGroups, Min: 0, Max: 5, Slots: quick, Handle: decoded(describeGroupsHandler.handle)},
		{Key: protocol.ListGroups, Min: 0, Max: 5, Slots: quick, Handle: decoded(listGroupsHandler.handle)},
		{Key: protocol.DeleteGroups, Min: 0, Max: 2, Handle: decoded(deleteGroupsHandler.handle)},
		{Key: protocol.OffsetDelete, Min: 0, Max: 0, Handle: decoded(forgetHandler.handle)},

		// Transactions.
		{Key: protocol.AddPartitionsToTxn, Min: 0, Max: 5, Handle: decoded(addPartitionsHandler.handle)},
		{Key: protocol.AddOffsetsToTxn, Min: 0, Max: 4, Handle: decoded(addOffsetsHandler.handle)},
		{Key: protocol.EndTxn, Min: 0, Max: 4, Handle: decoded(endTxnHandler.handle)},
		{Key: protocol.TxnOffsetCommit, Min: 0, Max: 4, Handle: decoded(txnCommitHandler.handle)},
		{Key: protocol.WriteTxnMarkers, Min: 0, Max: 1, Handle: decoded(markersHandler.handle)},
		{Key: protocol.DescribeProducers, Min: 0, Max: 0, Slots: quick, Handle: decoded(producersHandler.handle)},
		{Key: protocol.DescribeTransactions, Min: 0, Max: 0, Slots: quick, Handle: decoded(describeTxnsHandler.handle)},
		{Key: protocol.ListTransactions, Min: 0, Max: 1, Slots: quick, Handle: decoded(listTxnsHandler.handle)},

		// Administration.
		{Key: protocol.CreateTopics, Min: 0, Max: 7, Slots: slow, Handle: decoded(createHandler.handle)},
		{Key: protocol.DeleteTopics, Min: 0, Max: 6, Slots: slow, Handle: decoded(deleteHandler.handle)},
		{Key: protocol.CreatePartitions, Min: 0, Max: 3, Slots: slow, Handle: decoded(expandHandler.handle)},
		{Key: protocol.ElectLeaders, Min: 0, Max: 2, Slots: slow, Handle: decoded(electHandler.handle)},
		{Key: protocol.DeleteRecords, Min: 0, Max: 2, Slots: slow, Handle: decoded(deleteRecordsHandler.handle)},
		{Key: protocol.DescribeConfigs, Min: 0, Max: 4, Slots: quick, Handle: decoded(configsHandler.handle)},
		{Key: protocol.AlterConfigs, Min: 0, Max: 2, Slots: slow, Handle: decoded(alterHandler.handle)},
		{Key: protocol.IncrementalAlterConfigs, Min: 0, Max: 1, Slots: slow, Handle: decoded(incrementalHandler.handle)},
		{Key: protocol.DescribeLogDirs, Min: 0, Max: 4, Slots: quick, Handle: decoded(dirsHandler.handle)},

		// Between brokers.
		{Key: protocol.LeaderAndIsr, Min: 0, Max: 7, InterBroker: true, Handle: decodedFromController(leaderHandler.handle)},
		{Key: protocol.StopReplica, Min: 0, Max: 4, InterBroker: true, Handle: decodedFromController(stopHandler.handle)},
		{Key: protocol.UpdateMetadata, Min: 0, Max: 8, InterBroker: true, Handle: decodedFromController(updateHandler.handle)},
		{Key: protocol.ControlledShutdown, Min: 0, Max: 3, InterBroker: true, Handle: decoded(shutdownHandler.handle)},
		{Key: protocol.AlterPartition, Min: 0, Max: 3, InterBroker: true, Handle: decodedWithin(alterISRHandler.elements, alterISRHandler.handle)},
		{Key: protocol.AllocateProducerIds, Min: 0, Max: 0, InterBroker: true, Handle: decoded(allocateHandler.handle)},
	}
	slices.SortFunc(routes, func(a, b server.Route) int { return cmp.Compare(a.Key, b.Key) })
	versions.announce(routes)
	return routes, nil
}
