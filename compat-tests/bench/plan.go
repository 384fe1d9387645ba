package main

// scale is how much is measured.
type scale struct {
	name         string
	rounds       int
	smallBatches int64 // bytes of values in a turn with batches of 16 KiB
	largeBatches int64 // and of 1 MiB
}

var (
	quick = scale{name: "quick", rounds: 3, smallBatches: 40e6, largeBatches: 160e6}
	full  = scale{name: "full", rounds: 5, smallBatches: 100e6, largeBatches: 400e6}
)

func (s scale) bytes(batch int) int64 {
	if batch > 64<<10 {
		return s.largeBatches
	}
	return s.smallBatches
}

// scenario is a part of the benchmark that can be run alone.
type scenario struct {
	name, about string
	run         func(b *bench) error
}

var scenarios = []scenario{
	{"produce", "processor time and throughput of producing", produceScenario},
	{"consume", "processor time and throughput of consuming", consumeScenario},
}
