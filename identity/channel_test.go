package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"testing"
)

func TestChannel(t *testing.T) {
	k, other := newTestKey(t, 1), newTestKey(t, 2)
	exporter := bytes.Repeat([]byte{7}, ChannelExporterBytes)
	sig, err := SignChannel(k, exporter, Dialer)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyChannel(k.Public(), exporter, Dialer, sig); err != nil {
		t.Errorf("VerifyChannel = %v", err)
	}
	plain, err := k.Sign(exporter)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := bytes.Repeat([]byte{8}, ChannelExporterBytes)
	for _, tt := range []struct {
		name     string
		pub      ed25519.PublicKey
		exporter []byte
		role     ChannelRole
		sig      []byte
	}{
		{"another's key", other.Public(), exporter, Dialer, sig},
		{"sent back", k.Public(), exporter, Acceptor, sig},
		{"another channel", k.Public(), elsewhere, Dialer, sig},
		{"no role", k.Public(), exporter, "", sig},
		{"short exporter", k.Public(), exporter[:31], Dialer, sig},
		{"no exporter", k.Public(), nil, Dialer, sig},
		{"a signature for something else", k.Public(), exporter, Dialer, plain},
		{"no signature", k.Public(), exporter, Dialer, nil},
		{"no key", nil, exporter, Dialer, sig},
	} {
		if err := VerifyChannel(tt.pub, tt.exporter, tt.role, tt.sig); !errors.Is(err, ErrChannel) {
			t.Errorf("%s: %v, want ErrChannel", tt.name, err)
		}
	}
	if _, err := SignChannel(k, exporter, "both"); !errors.Is(err, ErrChannel) {
		t.Errorf("SignChannel for no role = %v, want ErrChannel", err)
	}
	if _, err := SignChannel(k, exporter[1:], Dialer); !errors.Is(err, ErrChannel) {
		t.Errorf("SignChannel of a short value = %v, want ErrChannel", err)
	}
}

func TestChannelExporter(t *testing.T) {
	client := ClientTLS(clientKey, testALPN, serverKey.Public())
	server := ServerTLS(serverKey, testALPN, only(clientKey))
	first, second := connect(t, client, server), connect(t, client, server)
	mustExport := func(state tls.ConnectionState) []byte {
		exporter, err := ChannelExporter(&state)
		if err != nil {
			t.Fatal(err)
		}
		return exporter
	}
	if !bytes.Equal(mustExport(first.client), mustExport(first.server)) {
		t.Error("the two ends derive different values")
	}
	if bytes.Equal(mustExport(first.client), mustExport(second.client)) {
		t.Error("two connections derive the same value")
	}
	if sig, err := SignChannel(clientKey, mustExport(first.client), Dialer); err != nil {
		t.Error(err)
	} else if err := VerifyChannel(clientKey.Public(), mustExport(first.server), Dialer, sig); err != nil {
		t.Error(err)
	}
}
