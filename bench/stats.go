package main

import (
	"math"
	"slices"
)

// median of an even number is the mean of the middle two; of none, 0.
func median(list []float64) float64 {
	values := slices.Sorted(slices.Values(list))
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// percentile is the smallest value that p per cent of the list do not exceed; of none, 0.
func percentile(list []float64, p float64) float64 {
	values := slices.Sorted(slices.Values(list))
	n := len(values)
	if n == 0 {
		return 0
	}
	i := int(math.Ceil(p/100*float64(n))) - 1
	return values[min(max(i, 0), n-1)]
}

// each gives a value for every sample.
func each[T any](list []T, value func(T) float64) []float64 {
	values := make([]float64, 0, len(list))
	for _, v := range list {
		values = append(values, value(v))
	}
	return values
}

// ratios divides round by round: a machine that drifts drifts for both.
func ratios(of, to []float64) []float64 {
	var list []float64
	for i := range min(len(of), len(to)) {
		if to[i] != 0 {
			list = append(list, of[i]/to[i])
		}
	}
	return list
}
