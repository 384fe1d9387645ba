package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// median of values, which it leaves as they are; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest value that at least the fraction p of all values do
// not exceed; NaN of none. The values must be sorted.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)]
}

// estimate is a value that was made of several rounds, with what would come out in 95 of
// 100 cases if other rounds like them had been measured.
type estimate struct{ value, low, high float64 }

const resamples = 2000

// bootstrap estimates what of returns for some of n rounds: it is asked with as many of
// them as there are, some of which come twice and others not at all. The same rounds give
// the same estimate.
func bootstrap(n int, of func(rounds []int) float64) estimate {
	if n == 0 {
		return estimate{math.NaN(), math.NaN(), math.NaN()}
	}
	rounds := make([]int, n)
	for i := range rounds {
		rounds[i] = i
	}
	value := of(rounds)
	chance := rand.New(rand.NewPCG(uint64(n), resamples))
	others := make([]float64, resamples)
	for i := range others {
		for j := range rounds {
			rounds[j] = chance.IntN(n)
		}
		others[i] = of(rounds)
	}
	slices.Sort(others)
	return estimate{value, percentile(others, 0.025), percentile(others, 0.975)}
}
