package differential

import (
	"regexp"
	"slices"
	"strconv"
)

// A known difference between us and Kafka, with its reason.
type known struct {
	api      string
	cases    string // regular expressions, of the whole
	replies  string // of the numbers of replies; "": any
	path     string
	from, to int16 // versions; to 0: no bound
	reason   string
}

var differences = []known{
	{api: "api_versions", cases: `.*`, path: `ApiKeys\.(17|29|3[014678]|39|4[015689]|5[0-57-9]|6[89]) .*`, reason: "keys of access control, quotas and further administration are not served yet"},
	{api: "update_metadata", cases: `.*`, path: `Brokers\[0\]\.Rack`, to: 1, reason: "these versions have no rack, which Kafka then takes for an empty one"},

	{api: "produce", cases: `a partition twice`, path: `Topics\[0\]\.Partitions(#|\[\d\](\{\}|\.(BaseOffset|LogStartOffset)))`, reason: "Kafka drops all but the last without a word"},
	{api: "produce", cases: `records: (gzip|snappy|lz4|zstd) that is none`, path: `.*\.(BaseOffset|ErrorCode)`, reason: "record.validation=header does not open compressed batches"},
	{api: "produce", cases: `records: unknown codec 7`, path: `.*\.(ErrorCode|LogStartOffset)`, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say UNSUPPORTED_COMPRESSION_TYPE"},
	{api: "produce", cases: `hostile: codec 5`, path: `.*\.(ErrorCode|LogStartOffset)`, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say UNSUPPORTED_COMPRESSION_TYPE"},
	{api: "produce", cases: `hostile: (length of int32 max|record length endless)`, path: `.*\.ErrorCode`, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say INVALID_RECORD"},
	{api: "produce", cases: `hostile: length of 48`, path: `.*\.ErrorMessage`, reason: "Kafka says nothing; we say what is wrong"},
	{api: "produce", cases: `hostile: (offsets? .*|first offset negative)`, replies: `2`, path: `.*\.RecordBatches\[0\]`, reason: "Kafka stores such offsets as they are; we put them in order, as it does with those of compressed batches"},
	{api: "produce", cases: `hostile: (offset beyond int32|(offset|timestamp) delta with bits that fall off)`, path: `.*\.(BaseOffset|ErrorCode|HighWatermark|LastStableOffset|RecordBatches.*)`, reason: "Kafka drops the bits of a number that do not fit; we say INVALID_RECORD"},
	{api: "produce", cases: `set: plain, (negative timestamp|(key|value) does not fit|format 1 of 14 bytes|unknown codec 7)`, path: `.*\.ErrorCode`, to: 2, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say what is wrong"},
	{api: "produce", cases: `set: (lz4, format 1 with the checksum of format 0|gzip, empty value|(gzip|snappy|lz4) that is none)`, path: `.*\.ErrorCode`, to: 2, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say CORRUPT_MESSAGE"},

	{api: "fetch", cases: `sizes`, replies: `10|11`, path: `Topics\[0\]\.Partitions\[\d\]\.(ErrorCode|HighWatermark|LastStableOffset|LogStartOffset|RecordBatches.*)`, reason: "Kafka fails over negative sizes (UNKNOWN_SERVER_ERROR)"},
	{api: "fetch", cases: `isolation`, replies: `3|4`, path: `ErrorCode|Topics.*`, reason: "Kafka fails over an isolation level that there is not (UNKNOWN_SERVER_ERROR)"},
	{api: "fetch", cases: `replicas|replica state`, path: `Brokers.*|Topics\[0\]\.Partitions\[0\]\..*`, reason: "OPEN: followers are not served yet"},
	{api: "fetch", cases: `a session sees a topic made anew`, replies: `[2-5]`, path: `Topics.*`, reason: "OPEN: Kafka tells a session in every reply that a topic is gone (3), and that another has its name (103)"},
	{api: "controlled_shutdown", cases: `broker epochs`, replies: `2|3`, path: `ErrorCode`, reason: "Kafka fails over a broker that is not there (UNKNOWN_SERVER_ERROR) where the request has an epoch; we say BROKER_NOT_AVAILABLE, as it does where there is none"},
	{api: "stop_replica", cases: `stale (controller|broker epoch)`, path: `Partitions.*`, reason: "we repeat the error for each partition: for a controller, silence would mean that a deletion is still under way"},
	{api: "list_offsets", cases: `isolation`, replies: `9|1[0-2]`, path: `Topics\[0\]\.Partitions\[0\]\.(ErrorCode|LeaderEpoch|Offset|Timestamp)`, reason: "Kafka fails over an isolation level that there is not (UNKNOWN_SERVER_ERROR)"},
	{api: "delete_records", cases: `nothing`, replies: `2|3`, path: `Topics(#|\[0\](\{\}|\.Topic|\.Partitions#))`, reason: "Kafka answers from a map: not for topics without partitions"},
	{api: "delete_records", cases: `a partition twice`, path: `Topics\[0\]\.Partitions(#|\[\d\](\{\}|\.LowWatermark))`, reason: "Kafka answers from a map: once for each partition"},
	{api: "offset_(commit|delete)", cases: `nothing`, replies: `2`, path: `Topics(#|\[0\](\{\}|\.Topic))`, reason: "Kafka answers from a map: not for topics without partitions"},
	{api: "offset_fetch", cases: `named`, replies: `3|4`, path: `(Groups\[0\]\.)?Topics(#|\[0\](\{\}|\.Topic))`, reason: "Kafka answers from a map: not for topics without partitions"},
	{api: "offset_(commit|fetch|delete)", cases: `a partition twice`, path: `(Groups\[0\]\.)?Topics(#|\[\d\].*)`, reason: "Kafka answers from a map: once for each partition, and once for each topic"},
	{api: "offset_fetch", cases: `several groups`, replies: `3`, path: `it`, reason: "asked for no groups Kafka fails, and never answers"},
	{api: "delete_topics", cases: `by id`, path: `Topics\[\d\]\.(ErrorCode|Topic)`, reason: "Kafka's controller still knows the id of a topic that has just been deleted: 3 instead of 100"},

	{api: "describe_configs", cases: `loggers`, path: `Resources\[0\]\..*`, reason: "loggers are not served yet"},
	{api: "describe_configs", cases: `.*`, path: `.*\.Configs\.(gracchus\..*|record\.validation)(\{\}|\..*)`, reason: "ours alone"},
	{api: "describe_configs", cases: `.*`, path: `.*\.Configs\.(log\.dirs?|listeners|advertised\.listeners|zookeeper\.connect|inter\.broker\.protocol\.version|log\.message\.format\.version)(\{\}|\..*)`, reason: "differ by how the brokers are started"},
	{api: "(incremental_)?alter_configs", cases: `a topic twice`, path: `it`, reason: "Kafka fails over it and never answers"},
	{api: "incremental_alter_configs", cases: `operations`, replies: `43|45|51`, path: `.*\.(ErrorCode|ErrorMessage)`, reason: "Kafka fails over APPEND to what is no list, or unknown (UNKNOWN_SERVER_ERROR); we say INVALID_CONFIG"},
	{api: "(incremental_)?alter_configs", cases: `brokers|loggers`, path: `.*\.(ErrorCode|ErrorMessage)`, reason: "brokers' configurations and loggers are not changed yet"},
}

// excused says whether a difference is a known one.
func excused(a api, s spec, v int16, reply int, path string) bool {
	for i, d := range differences {
		if matches(d.api, a.name) && v >= d.from && (d.to == 0 || v <= d.to) && matches(d.cases, s.name) && matches(d.path, path) &&
			(d.replies == "" || matches(d.replies, strconv.Itoa(reply))) {
			met[i] = true
			return true
		}
	}
	return false
}

// met are the differences that were met, by their number.
var met = map[int]bool{}

// unused are the differences in these APIs that were not met: they would excuse
// what is to come.
func unused(apis []string) (out []known) {
	for i, d := range differences {
		if !met[i] && slices.ContainsFunc(apis, func(name string) bool { return matches(d.api, name) }) {
			out = append(out, d)
		}
	}
	return out
}

func matches(pattern, s string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(s)
}
