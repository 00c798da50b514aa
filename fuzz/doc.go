// Package fuzz has black-box fuzz targets: they see what a user of the module can import, and nothing else.
//
// Each target is an ordinary test as well: go test runs its seeds, which are the committed vectors of the packages under
// test, and what was found before, in testdata/fuzz. README.md says how to run one and how to add one.
package fuzz
