package differential

import "regexp"

// A known difference between us and Kafka, with its reason.
type known struct {
	api      string
	cases    string // regular expressions, of the whole
	path     string
	from, to int16 // versions; to 0: no bound
	reason   string
}

var differences = []known{
	{api: "api_versions", cases: `.*`, path: `ApiKeys\.(7|8|9|1[0-7]|2[4-9]|3[014678]|39|4[01235-9]|5\d|61|6[5689]) .*`, reason: "keys of groups, transactions, access control, quotas and further administration are not served yet"},
	{api: "update_metadata", cases: `.*`, path: `Brokers\[0\]\.Rack`, to: 1, reason: "these versions have no rack, which Kafka then takes for an empty one"},

	{api: "produce", cases: `a partition twice`, path: `.*`, reason: "Kafka drops all but the last without a word"},
	{api: "produce", cases: `transactional batch without transaction`, path: `.*`, reason: "transactions are not served yet"},
	{api: "produce", cases: `records: (gzip|snappy|lz4|zstd) that is none`, path: `.*`, reason: "record.validation=header does not open compressed batches"},
	{api: "produce", cases: `set: plain, (negative timestamp|(key|value) does not fit|format 1 of 14 bytes|unknown codec 7)`, path: `.*ErrorCode`, to: 2, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say what is wrong"},
	{api: "produce", cases: `set: (lz4, format 1 with the checksum of format 0|gzip, empty value|(gzip|snappy|lz4) that is none)`, path: `.*ErrorCode`, to: 2, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say CORRUPT_MESSAGE"},
	{api: "produce", cases: `records: unknown codec 7`, path: `.*`, reason: "Kafka fails over it (UNKNOWN_SERVER_ERROR); we say UNSUPPORTED_COMPRESSION_TYPE"},
	{api: "produce", cases: `records: .*|compacted topic`, path: `.*ErrorMessage`, from: 8, reason: "texts for people, in own words; to be as Kafka's"},

	{api: "fetch", cases: `sizes`, path: `Topics\[0\]\.Partitions\[\d\]\..*`, reason: "Kafka fails over negative sizes (UNKNOWN_SERVER_ERROR)"},
	{api: "fetch", cases: `isolation`, path: `.*`, reason: "Kafka fails over an isolation level that there is not (UNKNOWN_SERVER_ERROR)"},
	{api: "fetch", cases: `replicas|replica state`, path: `.*`, reason: "OPEN: followers are not served yet"},
	{api: "fetch", cases: `a session sees a topic made anew`, path: `.*`, reason: "OPEN: Kafka tells a session in every reply that a topic is gone (3), and that another has its name (103)"},
	{api: "stop_replica", cases: `stale (controller|broker epoch)`, path: `Partitions.*`, reason: "we repeat the error for each partition: for a controller, silence would mean that a deletion is still under way"},
	{api: "list_offsets", cases: `isolation`, path: `.*`, reason: "Kafka fails over an isolation level that there is not (UNKNOWN_SERVER_ERROR)"},
	{api: "delete_records", cases: `nothing|a partition twice`, path: `.*`, reason: "Kafka answers from a map: once for each partition, and not for topics without any"},
	{api: "delete_topics", cases: `by id`, path: `Topics\[\d\]\.(ErrorCode|Topic)`, reason: "Kafka's controller still knows the id of a topic that has just been deleted: 3 instead of 100"},

	{api: "create_topics", cases: `configurations: .*`, path: `.*ErrorMessage`, reason: "the text for a configuration without a name ends without colon"},
	{api: "describe_configs", cases: `.*`, path: `Resources\[0\]\.ErrorMessage`, reason: "texts for people, in own words; to be as Kafka's"},
	{api: "describe_configs", cases: `loggers`, path: `.*`, reason: "loggers are not served yet"},
	{api: "describe_configs", cases: `.*`, path: `.*\.Configs\.(gracchus\..*|record\.validation)(\{\}|\..*)`, reason: "ours alone"},
	{api: "describe_configs", cases: `.*`, path: `.*\.Configs\.(log\.dirs?|listeners|advertised\.listeners|zookeeper\.connect|inter\.broker\.protocol\.version|log\.message\.format\.version)(\{\}|\..*)`, reason: "differ by how the brokers are started"},
	{api: "(incremental_)?alter_configs", cases: `a topic twice`, path: `it`, reason: "Kafka fails over it and never answers"},
	{api: "(incremental_)?alter_configs", cases: `bad values|other kinds|brokers|loggers|several nulls|operations`, path: `.*ErrorMessage`, reason: "texts for people, in own words; to be as Kafka's. Brokers' configurations are not changed yet"},
	{api: "incremental_alter_configs", cases: `operations`, path: `.*ErrorCode`, reason: "Kafka fails over APPEND to what is no list, or unknown (UNKNOWN_SERVER_ERROR); we say INVALID_CONFIG"},
	{api: "incremental_alter_configs", cases: `brokers|loggers`, path: `.*`, reason: "brokers' configurations and loggers are not changed yet"},
}

// excused says whether a difference is a known one.
func excused(a api, s spec, v int16, path string) bool {
	for _, d := range differences {
		if matches(d.api, a.name) && v >= d.from && (d.to == 0 || v <= d.to) && matches(d.cases, s.name) && matches(d.path, path) {
			return true
		}
	}
	return false
}

func matches(pattern, s string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(s)
}
