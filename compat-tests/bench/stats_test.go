package main

import (
	"math"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 2, 100}, 3},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v is %v, not %v", test.values, got, test.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("there is a median of nothing")
	}
	values := []float64{2, 1, 3}
	if median(values); values[0] != 2 {
		t.Errorf("median has sorted what it was given: %v", values)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, test := range []struct {
		sorted []float64
		p      float64
		want   float64
	}{
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.999, 100},
		{hundred, 0, 1},
		{hundred, 1, 100},
		{[]float64{7}, 0.99, 7},
	} {
		if got := percentile(test.sorted, test.p); got != test.want {
			t.Errorf("percentile %v of %d values is %v, not %v", test.p, len(test.sorted), got, test.want)
		}
	}
	if !math.IsNaN(percentile(nil, 0.5)) {
		t.Error("there is a percentile of nothing")
	}
}

// The more alike the rounds are, and the more there are, the closer is the estimate.
func TestBootstrap(t *testing.T) {
	width := func(n int, apart float64) float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = 10 + apart*float64(i*7%n)/float64(n)
		}
		of := func(rounds []int) float64 { return median(pick(values, rounds)) }
		got := bootstrap(n, of)
		if got.value != median(values) || got.low > got.value || got.high < got.value || got != bootstrap(n, of) {
			t.Errorf("of %d rounds: %+v", n, got)
		}
		return got.high - got.low
	}
	if few, many, alike := width(5, 1), width(101, 1), width(5, 0.1); many > few/2 || alike > few/5 || many == 0 {
		t.Errorf("5 rounds: ±%v, 101: ±%v, 5 that are alike: ±%v", few/2, many/2, alike/2)
	}
}
