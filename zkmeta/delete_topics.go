package zkmeta

// DeleteTopicsPath is the parent of the requests to delete a topic: nodes without
// data, named as the topic, that the controller removes when it is done.
const DeleteTopicsPath = "/admin/delete_topics"

// DeleteTopicPath is the request to delete one topic.
func DeleteTopicPath(topic string) string { return DeleteTopicsPath + "/" + topic }
