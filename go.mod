module github.com/gracchus-mq/gracchus

go 1.26.0

require (
	github.com/KimMachineGun/automemlimit v1.0.1 // the memory limit of the container, for the garbage collector
	github.com/cockroachdb/datadriven v1.0.3 // tests: scenario files of the state machines
	github.com/go-zookeeper/zk v1.0.4 // tests: a client of the embedded ZooKeeper
	github.com/klauspost/compress v1.20.3 // gzip, snappy, zstd
	github.com/magiconair/properties v1.18.12 // server.properties by Java's rules
	github.com/pierrec/lz4/v4 v4.1.33 // LZ4 frames
	github.com/spf13/cobra v1.10.2 // the command line
	github.com/twmb/franz-go v1.22.2 // kerr, Kafka's errors; tests: a client in the bubble
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // codec of the requests that are not hot
	go.etcd.io/bbolt v1.5.0 // the store of the embedded ZooKeeper
	go.uber.org/goleak v1.3.0 // tests: goroutines left behind
	golang.org/x/sync v0.25.0 // a bound of bytes that are in use
	golang.org/x/sys v0.49.0 // open-file-description locks, statfs, fallocate
)

require (
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/pbnjay/memory v0.0.0-20210728143218-7b4eea64cf58 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	github.com/spf13/pflag v1.0.10 // indirect
)
