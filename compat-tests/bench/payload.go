package main

import (
	"fmt"
	"math/rand/v2"
)

// payload keeps the record values of each size that was asked for.
type payload map[int][][]byte

// payloadBytes is how much comes before the values go round: more than a batch
// and than the window of a codec.
const payloadBytes = 16 << 20

func (p payload) values(size int) [][]byte {
	if p[size] == nil {
		p[size] = makeValues(size, payloadBytes/size)
	}
	return p[size]
}

// makeValues makes record values of one size like those of logs and events: JSON
// with words that come again and numbers that do not. They are the same in each
// run.
func makeValues(size, n int) [][]byte {
	words := []string{
		"order", "customer", "payment", "shipped", "pending", "warehouse", "invoice", "address", "delivery", "cancelled",
		"refund", "express", "standard", "berlin", "lisbon", "prague", "vienna", "helsinki", "accepted", "returned",
	}
	random := rand.New(rand.NewPCG(1, 2))
	all := make([][]byte, n)
	for i := range all {
		v := fmt.Appendf(make([]byte, 0, size+64), `{"id":%d,"at":%d`, random.Uint32(), 1700000000000+random.Int64N(1e9))
		for len(v) < size {
			v = fmt.Appendf(v, `,"%s":"%s-%d"`, words[random.IntN(len(words))], words[random.IntN(len(words))], random.IntN(1e6))
		}
		all[i] = v[:size]
	}
	return all
}
