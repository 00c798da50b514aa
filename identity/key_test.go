package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestGenerateKey(t *testing.T) {
	a, err := GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Public().Equal(b.Public()) {
		t.Error("the same key twice")
	}
	seed := bytes.Repeat([]byte{9}, 32)
	c, err := GenerateKey(bytes.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Seed(); err != nil || !bytes.Equal(got[:], seed) {
		t.Errorf("Seed = %x, %v, want what the reader gave", got, err)
	}
	if _, err := GenerateKey(bytes.NewReader(seed[1:])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("31 bytes of randomness: %v", err)
	}
}

func TestNewKey(t *testing.T) {
	k := newTestKey(t, 1)
	token, err := NewKey(opaqueSigner{k.signer})
	if err != nil {
		t.Fatal(err)
	}
	if token.NodeID() != k.NodeID() {
		t.Errorf("node id %v, want %v", token.NodeID(), k.NodeID())
	}
	sig, err := token.Sign([]byte("message"))
	if err != nil || !ed25519.Verify(k.Public(), []byte("message"), sig) {
		t.Errorf("Sign: %v", err)
	}
	if _, err := token.Seed(); !errors.Is(err, ErrNoSeed) {
		t.Errorf("Seed = %v, want ErrNoSeed", err)
	}
	if _, err := token.SealingKey(); !errors.Is(err, ErrNoSeed) {
		t.Errorf("SealingKey = %v, want ErrNoSeed", err)
	}
	unplugged, err := NewKey(brokenSigner{opaqueSigner{k.signer}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unplugged.Sign(nil); !errors.Is(err, errUnplugged) {
		t.Errorf("Sign = %v, want the signer's error", err)
	}

	rsaLike, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"none": nil, "ECDSA": rsaLike} {
		if _, err := NewKey(signer); !errors.Is(err, ErrBadKey) {
			t.Errorf("signer %s: %v, want ErrBadKey", name, err)
		}
	}
}

var errUnplugged = errors.New("the token is unplugged")

type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errUnplugged
}

func TestKeyDoesNotPrintItsSecret(t *testing.T) {
	k := newTestKey(t, 1)
	want := "identity.Key(" + k.NodeID().String() + ")"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(verb, k); got != want {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	if got := fmt.Sprint((*Key)(nil)); got != "identity.Key(nil)" {
		t.Errorf("nil prints %s", got)
	}
}

func TestNames(t *testing.T) {
	if got := NodeID(0xab).String(); got != "00000000000000ab" {
		t.Errorf("NodeID prints %s", got)
	}
	if got := fmt.Sprint(Origin(0xcd)); got != "00000000000000cd" {
		t.Errorf("Origin prints %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a key of 31 bytes has a name")
		}
	}()
	NodeIDOf(make([]byte, 31))
}

func TestParsePublic(t *testing.T) {
	pub := newTestKey(t, 1).Public()
	for _, text := range []string{FormatPublic(pub), strings.ToUpper(FormatPublic(pub)), " " + FormatPublic(pub) + "\n"} {
		if got, err := ParsePublic(text); err != nil || !got.Equal(pub) {
			t.Errorf("ParsePublic(%q) = %x, %v", text, []byte(got), err)
		}
	}
	for _, text := range []string{"", "00", FormatPublic(pub)[1:], FormatPublic(pub) + "00", strings.Repeat("xy", 32)} {
		if _, err := ParsePublic(text); !errors.Is(err, ErrBadKey) {
			t.Errorf("ParsePublic(%q) = %v, want ErrBadKey", text, err)
		}
	}
}

// Under a key of low order anyone can sign: the standard verification lets a
// signature pass that was made without a secret, and ours must not.
func TestVerifyStrict(t *testing.T) {
	const curveIdentity, tries = 1, 1000
	var forged [64]byte // R is the identity, S is 0
	forged[0] = curveIdentity
	for _, y := range lowOrderY {
		passed := false
		for i := range tries {
			message := fmt.Append(nil, i)
			passed = passed || ed25519.Verify(y[:], message, forged[:])
			if verifyStrict(y[:], message, forged[:]) {
				t.Fatalf("a signature made without a secret passes under %x", y)
			}
		}
		if !passed {
			t.Errorf("%x is not of low order", y)
		}
	}

	k := newTestKey(t, 1)
	sig, err := k.Sign([]byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if !verifyStrict(k.Public(), []byte("m"), sig) {
		t.Error("a good signature is refused")
	}
	if verifyStrict(k.Public()[:31], []byte("m"), sig) || verifyStrict(k.Public(), []byte("m"), sig[:63]) || verifyStrict(nil, nil, nil) {
		t.Error("wrong lengths pass")
	}
}

func TestAllowList(t *testing.T) {
	var zero AllowList
	for _, tt := range []struct {
		name       string
		list       AllowList
		one, other bool
	}{
		{"zero", zero, false, false},
		{"empty", NewAllowList(), false, false},
		{"one", NewAllowList(1), true, false},
		{"both", NewAllowList(1, 2, 2), true, true},
		{"all", AllowAll(), true, true},
	} {
		if one, other := tt.list.Allows(1), tt.list.Allows(2); one != tt.one || other != tt.other {
			t.Errorf("%s: allows 1 %v, 2 %v", tt.name, one, other)
		}
	}
}
