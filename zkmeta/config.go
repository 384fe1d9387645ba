package zkmeta

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// EntityType is a kind of thing that has configuration: a child of /config.
type EntityType string

// The kinds of entities, by the names of their nodes.
const (
	TopicEntities  EntityType = "topics"
	BrokerEntities EntityType = "brokers"
	ClientEntities EntityType = "clients"
	UserEntities   EntityType = "users"
	IPEntities     EntityType = "ips"
)

// ConfigEntity names one node below /config, such as topics/orders or
// users/alice/clients/app. It is comparable. The zero value is no entity.
type ConfigEntity struct {
	kind EntityType
	name string // encoded, without the kind: "alice/clients/app"
}

// TopicConfig is the entity of a topic's overrides.
func TopicConfig(topic string) ConfigEntity { return ConfigEntity{TopicEntities, topic} }

// BrokerConfig is the entity of one broker's dynamic configuration.
func BrokerConfig(id int32) ConfigEntity {
	return ConfigEntity{BrokerEntities, strconv.Itoa(int(id))}
}

// DefaultConfig is the entity of the defaults of a kind: for brokers, clients,
// users and ips.
func DefaultConfig(kind EntityType) ConfigEntity { return ConfigEntity{kind, DefaultEntityName} }

// ClientConfig is the entity of a client id's quotas.
func ClientConfig(clientID string) ConfigEntity {
	return ConfigEntity{ClientEntities, EncodeEntityName(clientID)}
}

// UserConfig is the entity of a user's quotas and SCRAM credentials. The name
// goes without "User:".
func UserConfig(user string) ConfigEntity {
	return ConfigEntity{UserEntities, EncodeEntityName(user)}
}

// IPConfig is the entity of an address's connection quota.
func IPConfig(ip string) ConfigEntity { return ConfigEntity{IPEntities, EncodeEntityName(ip)} }

// WithClient narrows the entity of a user (or of the default user) to one client
// id of that user; "<default>" stands for any other client id.
func (e ConfigEntity) WithClient(clientID string) ConfigEntity {
	if clientID != DefaultEntityName {
		clientID = EncodeEntityName(clientID)
	}
	return ConfigEntity{e.kind, e.name + "/clients/" + clientID}
}

// Kind is the kind of the entity.
func (e ConfigEntity) Kind() EntityType { return e.kind }

// Name is the node name below the kind, URL-encoded as it stands in ZooKeeper.
func (e ConfigEntity) Name() string { return e.name }

// String is the form that change notifications carry: "topics/orders".
func (e ConfigEntity) String() string { return string(e.kind) + "/" + e.name }

// Path is the entity's node.
func (e ConfigEntity) Path() string { return "/config/" + e.String() }

// EntityTypePath is the parent of the entities of one kind.
func EntityTypePath(kind EntityType) string { return "/config/" + string(kind) }

// ParseConfigEntity reads the path that a change notification carries.
func ParseConfigEntity(path string) (ConfigEntity, error) {
	kind, name, ok := strings.Cut(path, "/")
	switch EntityType(kind) {
	case TopicEntities, BrokerEntities, ClientEntities, UserEntities, IPEntities:
	default:
		ok = false
	}
	if !ok || name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return ConfigEntity{}, fmt.Errorf("%q names no configured entity", path)
	}
	if parts := strings.Split(name, "/"); len(parts) != 1 &&
		!(kind == string(UserEntities) && len(parts) == 3 && parts[1] == string(ClientEntities)) {
		return ConfigEntity{}, fmt.Errorf("%q names no configured entity", path)
	}
	return ConfigEntity{EntityType(kind), name}, nil
}

// EncodeConfig makes the data of an entity's node. A nil map is written as an
// empty one.
func EncodeConfig(values map[string]string) ([]byte, error) {
	for name := range values {
		if name == "" {
			return nil, errors.New("config: a property without a name")
		}
	}
	if values == nil {
		values = map[string]string{}
	}
	return encodeJSON(struct {
		Version int               `json:"version"`
		Config  map[string]string `json:"config"`
	}{1, values})
}

// DecodeConfig reads the data of the entity's node. Kafka's reader takes missing
// data, and data that is no JSON object or has no "config" object, for an empty
// configuration, and so does this one. A value that is not a string is a
// *MalformedError.
func DecodeConfig(entity ConfigEntity, data []byte) (map[string]string, error) {
	values := map[string]string{}
	o, err := decodeObject(data)
	if err != nil || !o.has("config") {
		return values, nil
	}
	config, err := field[object](o, "config")
	if err != nil {
		return values, nil
	}
	for name := range config {
		if values[name], err = field[string](config, name); err != nil {
			return nil, malformed(entity.Path(), data, err)
		}
	}
	return values, nil
}
