package main

import "time"

// scale is how much is measured.
type scale struct {
	name         string
	rounds       int
	warmUps      int           // at most, of each subject in each cell
	every        int           // load of produce and consume is measured: 1 is all
	heat         int64         // bytes of values that each broker gets before anything is measured, twice, in batches of 16 KiB
	smallBatches int64         // bytes of values in a turn with batches of 16 KiB
	largeBatches int64         // and of 1 MiB
	writing      int           // rounds of producing large batches without codec: little is left over the floor
	reading      int           // rounds of consuming, in which each reads once what was produced
	latency      time.Duration // of a turn at a fixed rate
	idle         time.Duration // of a turn in which little or nothing happens
	starts       int           // rounds of starting from nothing
	restarts     int           // rounds of starting after kill -9
	long         int           // rounds of what takes long
	partitions   int           // of which most are idle
	connections  int           // all idle
	killed       int           // partitions with records at a kill -9
	session      time.Duration // of a controller that is killed, in ZooKeeper
	handedOver   int           // partitions that a broker leads which is stopped
	commitHeat   int64         // commits that each broker gets before any are measured
	commits      time.Duration // of a turn of groups that commit
	joining      int           // members that join a group at once
	heartbeating int           // members that send heartbeats
	offsets      int           // committed ones to be loaded

	transactionHeat int64         // transactions that each broker gets before any are measured
	transactions    time.Duration // of a turn of producers that make them
}

// scales by name. tiny only shows that the benchmark works.
func scales() map[string]scale {
	return map[string]scale{
		"quick": {
			name: "quick", rounds: 3, warmUps: 4, every: 1, heat: 100e6, smallBatches: 40e6, largeBatches: 160e6, writing: 5, reading: 7, latency: 5 * time.Second, idle: 4 * time.Second,
			starts: 5, restarts: 2, long: 2, partitions: 10000, connections: 5000, killed: 1000,
			session: 6 * time.Second, handedOver: 1000,
			commitHeat: 20000, commits: 800 * time.Millisecond, joining: 100, heartbeating: 1000, offsets: 1e6,
			transactionHeat: 2000, transactions: 2 * time.Second,
		},
		"full": {
			name: "full", rounds: 5, warmUps: 4, every: 1, heat: 200e6, smallBatches: 60e6, largeBatches: 250e6, writing: 17, reading: 25, latency: 10 * time.Second, idle: 6 * time.Second,
			starts: 10, restarts: 5, long: 3, partitions: 10000, connections: 5000, killed: 1000,
			session: 6 * time.Second, handedOver: 1000,
			commitHeat: 40000, commits: 2 * time.Second, joining: 100, heartbeating: 1000, offsets: 1e6,
			transactionHeat: 2000, transactions: 4 * time.Second,
		},
		"tiny": {
			name: "tiny", rounds: 1, warmUps: 1, every: 5, heat: 1e6, smallBatches: 1e6, largeBatches: 3e6, writing: 1, reading: 1, latency: 200 * time.Millisecond, idle: 100 * time.Millisecond,
			starts: 1, restarts: 1, long: 1, partitions: 20, connections: 20, killed: 10,
			session: time.Second, handedOver: 10,
			commitHeat: 1000, commits: 50 * time.Millisecond, joining: 10, heartbeating: 20, offsets: 10000,
			transactionHeat: 20, transactions: 50 * time.Millisecond,
		},
	}
}

func (s scale) bytes(batch int) int64 {
	if batch > 64<<10 {
		return s.largeBatches
	}
	return s.smallBatches
}

// some of what could be measured, as much as the scale has.
func some[T any](s scale, all []T) []T {
	var chosen []T
	for i := 0; i < len(all); i += s.every {
		chosen = append(chosen, all[i])
	}
	return chosen
}

// scenario is a part of the benchmark that can be run alone.
type scenario struct {
	name, about string
	quick, full time.Duration // that it takes on two quiet cores
	run         func(b *bench) error
	tables      func(r *Results) string  // in Markdown
	charts      func(r *Results) []chart // the first is named like the scenario, the second with -2
}

func scenarios() []scenario {
	return []scenario{
		{
			name: "produce", about: "processor time of producing, over size of records and batches, codec, acks",
			quick: 180 * time.Second, full: 7 * time.Minute, run: produceScenario, tables: produceTables, charts: produceCharts,
		},
		{
			name: "consume", about: "processor time of consuming, over size of records and batches, codec",
			quick: 140 * time.Second, full: 7 * time.Minute, run: consumeScenario, tables: consumeTables, charts: consumeCharts,
		},
		{
			name: "latency", about: "from the producer's schedule to the consumer, at 2,000 records a second",
			quick: 80 * time.Second, full: 230 * time.Second, run: latencyScenario, tables: latencyTables, charts: latencyCharts,
		},
		{
			name: "partitions", about: "10,000 partitions: creating them, idle, ten of them active, the cost of an idle fetch",
			quick: 180 * time.Second, full: 300 * time.Second, run: partitionsScenario, tables: partitionsTables, charts: partitionsCharts,
		},
		{
			name: "connections", about: "5,000 idle connections: memory and processor time",
			quick: 35 * time.Second, full: 80 * time.Second, run: connectionsScenario, tables: connectionsTables,
		},
		{
			name: "startup", about: "from exec to the first acknowledged record, in an empty directory",
			quick: 25 * time.Second, full: 45 * time.Second, run: startupScenario, tables: startupTables, charts: startupCharts,
		},
		{
			name: "restart", about: "the same after kill -9, with records in 1,000 partitions",
			quick: 45 * time.Second, full: 85 * time.Second, run: restartScenario, tables: restartTables,
		},
		{
			name: "memory", about: "resident when idle and under load",
			quick: 35 * time.Second, full: 80 * time.Second, run: memoryScenario, tables: memoryTables, charts: memoryCharts,
		},
		{
			name: "group-commits", about: "processor time of committing offsets, with 8 and 500 groups",
			quick: 40 * time.Second, full: 80 * time.Second, run: groupCommitsScenario, tables: groupCommitsTables, charts: groupCommitsCharts,
		},
		{
			name: "group-members", about: "100 members join a group; heartbeats of 1,000",
			quick: 35 * time.Second, full: 60 * time.Second, run: groupMembersScenario, tables: groupMembersTables,
		},
		{
			name: "group-load", about: "a start with a million committed offsets",
			quick: 45 * time.Second, full: 65 * time.Second, run: groupLoadScenario, tables: groupLoadTables,
		},
		{
			name: "transactions", about: "transactions of ten records, of one producer and of eight",
			quick: 60 * time.Second, full: 130 * time.Second, run: transactionsScenario, tables: transactionsTables, charts: transactionsCharts,
		},
		{
			name: "cluster-produce", about: "three brokers: processor time of producing to three replicas",
			quick: 70 * time.Second, full: 150 * time.Second, run: clusterProduceScenario, tables: clusterProduceTables, charts: clusterProduceCharts,
		},
		{
			name: "cluster-latency", about: "three brokers: from the producer's schedule to the consumer, at 1,000 records a second",
			quick: 70 * time.Second, full: 180 * time.Second, run: clusterLatencyScenario, tables: clusterLatencyTables, charts: clusterLatencyCharts,
		},
		{
			name: "cluster-failover", about: "three brokers: 10,000 partitions, the controller killed",
			quick: 300 * time.Second, full: 400 * time.Second, run: failoverScenario, tables: failoverTables,
		},
		{
			name: "cluster-shutdown", about: "three brokers: from SIGTERM to the end of one that leads 1,000 partitions",
			quick: 60 * time.Second, full: 90 * time.Second, run: shutdownScenario, tables: shutdownTables,
		},
		{
			name: "cluster-transactions", about: "three brokers: transactions of ten records, of one producer and of eight",
			quick: 120 * time.Second, full: 200 * time.Second, run: clusterTransactionsScenario, tables: clusterTransactionsTables,
		},
		{
			name: "cluster-memory", about: "three brokers: resident when idle and under load",
			quick: 60 * time.Second, full: 120 * time.Second, run: clusterMemoryScenario, tables: clusterMemoryTables, charts: clusterMemoryCharts,
		},
	}
}

// expected is how long a scenario takes at a scale, on two quiet cores.
func (s scenario) expected(at scale) time.Duration {
	if at.name == "full" {
		return s.full
	}
	return s.quick
}
