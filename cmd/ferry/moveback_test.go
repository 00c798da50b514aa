package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
)

// A move straight back, after 1 % of the state was rewritten in a contiguous
// range of keys: what is at the old node need not be sent.
func TestMoveBackSendsLittle(t *testing.T) {
	slow(t)
	const fill, value = 128 << 20, 60 << 10
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "orders", "--fill", fmt.Sprint(fill))
	w.node("b")
	w.migrate(exitDone, "orders", "b")
	client := &http.Client{Timeout: patience}
	noise := make([]byte, value)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	for n := range fill / 100 / value {
		noise[0]++
		if _, err := put(client, fmt.Sprintf("%s%sorders/kv/fill/%08d", w.url("b"), daemonsPrefix, 100+n), string(noise)); err != nil {
			t.Fatal(err)
		}
	}
	res, _ := w.migrate(exitDone, "orders", "a")
	t.Logf("%+v of %d: %.2f %%", res.Encoded, res.StateBytes, 100*float64(res.BytesWire)/float64(res.StateBytes))
	if res.BytesWire > res.StateBytes/20 {
		t.Errorf("%d bytes travelled, of a state of %d", res.BytesWire, res.StateBytes)
	}
	w.owner("orders", "a", "b")
}
