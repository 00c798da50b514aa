// Package harness is what the packages of fuzz targets share: the seeds, the replay with its canaries, and what a decoder
// may allocate and must say. It imports no more than the decoders need: each execution of go's fuzzer pays for every
// counter of coverage in the binary.
package harness
