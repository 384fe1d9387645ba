package record

import (
	"bytes"
	"testing"
)

// goldenCodecs are batches that Kafka 3.9's own classes wrote: offset 7, leader
// epoch 3, producer 1000 of epoch 2 at sequence number 5, transactional, with the
// two records that TestGoldenCodecs expects.
var goldenCodecs = map[Codec]string{
	None: "000000000000000700000061000000030297f2cc420010000000010000018bcfe568000000018bcfe5680500000000000003e800020000000500000002" +
		"42000000026b346772616363687573206772616363687573206772616363687573001a000a0201010402680102690277",
	Gzip: "00000000000000070000006600000003025fe5bf060011000000010000018bcfe568000000018bcfe5680500000000000003e800020000000500000002" +
		"1f8b08000000000000ff7362606060ca36492f4a4c4ece282d56c06030483170313132b23065303265329503005737ac9b30000000",
	Snappy: "00000000000000070000006a000000030254b4c9970012000000010000018bcfe568000000018bcfe5680500000000000003e800020000000500000002" +
		"82534e4150505900000000010000000100000025303c42000000026b3467726163636875732042090038001a000a0201010402680102690277",
	LZ4: "0000000000000007000000650000000302b38114190013000000010000018bcfe568000000018bcfe5680500000000000003e800020000000500000002" +
		"04224d1860408225000000fd0142000000026b346772616363687573200900f000001a000a020101040268010269027700000000",
	Zstd: "0000000000000007000000620000000302cca59ce20014000000010000018bcfe568000000018bcfe5680500000000000003e800020000000500000002" +
		"28b52ffd00582c0100f842000000026b34677261636368757320001a000a02010104026801026902770100389725010000",
}

func TestGoldenCodecs(t *testing.T) {
	for codec, golden := range goldenCodecs {
		b, rest, err := Next(unhex(t, golden))
		if err != nil || len(rest) != 0 || b.CheckCRC() != nil || b.Codec() != codec {
			t.Fatalf("%v: codec %v, %d bytes too many, %v, %v", codec, b.Codec(), len(rest), err, b.CheckCRC())
		}
		const want = `7@1700000000000:"k"="gracchus gracchus gracchus" 8@1700000000005:""="" `
		if got := content(t, b); got != want || b.ProducerID() != 1000 || b.LastSequence() != 6 || !b.IsTransactional() {
			t.Errorf("%v: %s", codec, got)
		}
		var last Record
		for r := range b.Records(1 << 10) {
			last = r
		}
		var headers []Header
		for h := range last.Headers() {
			headers = append(headers, h)
		}
		if last.Key != nil || last.Value != nil || len(headers) != 2 || string(headers[0].Key) != "h" || headers[0].Value != nil || string(headers[1].Value) != "w" {
			t.Errorf("%v: second record %+v, headers %q", codec, last, headers)
		}
		// The same records, built here, are the same bytes where nothing is compressed.
		builder := NewBuilder().SetBaseOffset(7).SetLeaderEpoch(3).SetProducer(1000, 2, 5).SetTransactional(true).SetCodec(codec, DefaultLevel)
		builder.Append(1700000000000, []byte("k"), []byte("gracchus gracchus gracchus"))
		builder.Append(1700000000005, nil, nil, headers...)
		built := mustBuild(t, builder)
		if codec == None && !bytes.Equal(built, b) {
			t.Errorf("built %x\nKafka's %x", []byte(built), []byte(b))
		}
		if content(t, built) != want {
			t.Errorf("%v, built here: %s", codec, content(t, built))
		}
	}
}
