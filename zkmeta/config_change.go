package zkmeta

import "fmt"

// ConfigChangesPath is the parent of the notifications of changed configurations.
// A child whose name does not end in a number would stop every Kafka broker from
// seeing the later ones.
const ConfigChangesPath = "/config/changes"

const configChangePrefix = "config_change_"

// EncodeConfigChange makes the data of a notification. It names the entity only;
// whoever is notified reads the entity itself.
func EncodeConfigChange(entity ConfigEntity) ([]byte, error) {
	if entity == (ConfigEntity{}) {
		return nil, fmt.Errorf("config change: no entity")
	}
	return encodeJSON(struct {
		Version int    `json:"version"`
		Entity  string `json:"entity_path"`
	}{2, entity.String()})
}

// DecodeConfigChange reads a notification of version 2, or of version 1, which
// knows topics and clients only. The error is a *MalformedError: such a
// notification is skipped.
func DecodeConfigChange(data []byte) (ConfigEntity, error) {
	e, err := decodeConfigChange(data)
	if err != nil {
		return ConfigEntity{}, malformed(ConfigChangesPath+"/"+configChangePrefix, data, err)
	}
	return e, nil
}

func decodeConfigChange(data []byte) (e ConfigEntity, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return e, err
	}
	version, err := field[int32](o, "version")
	if err != nil {
		return e, err
	}
	switch version {
	case 1:
		kind, err := field[string](o, "entity_type")
		if err != nil {
			return e, err
		}
		if kind != string(TopicEntities) && kind != string(ClientEntities) {
			return e, fmt.Errorf("entity_type %q in a notification of version 1", kind)
		}
		name, err := field[string](o, "entity_name")
		if err != nil {
			return e, err
		}
		return ParseConfigEntity(kind + "/" + name)
	case 2:
		path, err := field[string](o, "entity_path")
		if err != nil {
			return e, err
		}
		return ParseConfigEntity(path)
	}
	return e, fmt.Errorf("unsupported version %d", version)
}
