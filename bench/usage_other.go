//go:build !unix

package main

// cpuSeconds is not known here, and 0 in the report.
func cpuSeconds() float64 { return 0 }
