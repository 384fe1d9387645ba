package harness

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ExpireSession ends the broker's ZooKeeper session by force, as its expiry would:
// somebody else resumes it, with the secret that the broker keeps on disk, and closes
// it. ZooKeeper offers nothing else. As the broker may take the session back before it
// is closed, this is tried some times.
func (m *Member) ExpireSession() {
	m.cluster.t.Helper()
	const tries = 20
	var err error
	for try := range tries {
		err = m.expireSession()
		if err == nil || errors.Is(err, errSessionEnded) && try > 0 { // an earlier try that had no answer
			return
		}
	}
	m.cluster.t.Errorf("ending the ZooKeeper session of broker %d: %v", m.ID, err)
}

var errSessionEnded = errors.New("the session has ended already")

func (m *Member) expireSession() error {
	data, err := os.ReadFile(filepath.Join(m.options.Dirs[0], "gracchus-zookeeper-session"))
	if err != nil {
		return err
	}
	var saved struct{ ID, Password string }
	if err := json.Unmarshal(data, &saved); err != nil {
		return err
	}
	id, err := strconv.ParseInt(saved.ID, 16, 64)
	if err != nil {
		return err
	}
	password, err := hex.DecodeString(saved.Password)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", m.zookeeper.server, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	return closeSession(conn, id, password)
}

// closeSession resumes a session on a connection to ZooKeeper and closes it.
func closeSession(conn net.Conn, id int64, password []byte) error {
	const (
		closeXID    = 1
		closeOpcode = -11
	)
	connect := binary.BigEndian.AppendUint32(nil, 0)         // protocol version
	connect = binary.BigEndian.AppendUint64(connect, 0)      // last transaction seen
	connect = binary.BigEndian.AppendUint32(connect, 10_000) // timeout, ms
	connect = binary.BigEndian.AppendUint64(connect, uint64(id))
	connect = binary.BigEndian.AppendUint32(connect, uint32(len(password)))
	connect = append(connect, password...)
	connect = append(connect, 0) // not read-only
	opcode := int32(closeOpcode)
	end := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, closeXID), uint32(opcode))
	// Both at once, to be quicker than the broker.
	if _, err := conn.Write(append(framed(connect), framed(end)...)); err != nil {
		return err
	}
	answer, err := readFrame(conn)
	if err != nil {
		return err
	}
	if len(answer) < 4+4+4+8 || int64(binary.BigEndian.Uint64(answer[12:])) != id {
		return errSessionEnded
	}
	_, err = readFrame(conn)
	return err
}

// framed is a frame behind its size.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}
