package proto0500_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

// TestExtensionVectors reads annotated hex: each line is hex digits, then what they are.
func TestExtensionVectors(t *testing.T) {
	lim := frame.Default()
	seen := make(map[proto0500.Kind]bool)
	datadriven.RunTest(t, "testdata/extensions.txt", func(t *testing.T, d *datadriven.TestData) string {
		var digits strings.Builder
		for line := range strings.Lines(d.Input) {
			hexDigits, _, _ := strings.Cut(line, " ")
			digits.WriteString(strings.TrimSpace(hexDigits))
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		m, err := proto0500.Decode(b, &lim)
		if err != nil {
			return frame.ErrorKind(err) + ": " + err.Error()
		}
		seen[m.Kind()] = true
		if _, err := proto0500.DecodeBase(b, &lim); frame.ErrorKind(err) != "unknown" {
			d.Fatalf(t, "taken for one of the ten: %v", err)
		}
		testDamage(t, b, &lim)
		out, err := jsonform.Marshal(m)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		fromJSON, err := jsonform.Unmarshal(out)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		for name, m := range map[string]proto0500.Message{"decoded": m, "read from JSON": fromJSON, "clone": proto0500.Clone(m)} {
			if got, err := m.Append(nil, &lim); err != nil || !bytes.Equal(got, b) {
				d.Fatalf(t, "%s encoded as %x, %v", name, got, err)
			}
		}
		return string(out)
	})
	for k := proto0500.KindHello; k <= proto0500.KindRecipient; k++ {
		if !seen[k] {
			t.Errorf("no vector of %v", k)
		}
	}
}
