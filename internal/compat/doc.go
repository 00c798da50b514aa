// Package compat holds the table of docs/compatibility.md in one test: what is of a later version, or of nobody's, is
// refused by the name of its message, its field and its value.
package compat
