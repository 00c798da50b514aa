package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
)

// For connections that the caller already has, with certificates of its own:
// each side signs a value that only the two ends of this TLS connection know.
// Someone in the middle has two connections, hence two values, and can pass
// neither signature on.

const (
	channelLabel   = "EXPORTER-ferry-node-key"
	channelContext = "ferry node key on a TLS channel, v1\x00"

	// ChannelExporterBytes is the size of the exporter value.
	ChannelExporterBytes = 32
)

// ErrChannel: the signature does not prove the key for this channel and role.
var ErrChannel = errors.New("node key not proven on this channel")

// ChannelRole says which end signs. It is signed too, so that a signature
// cannot be sent back to the one who made it.
type ChannelRole string

// The two ends of a connection.
const (
	Dialer   ChannelRole = "dialer"
	Acceptor ChannelRole = "acceptor"
)

// ChannelExporter is the value to sign: 32 bytes that both ends of the TLS
// connection derive, and nobody else. It fails before the handshake has ended
// and for TLS 1.2 without extended master secret.
func ChannelExporter(state *tls.ConnectionState) ([]byte, error) {
	exporter, err := state.ExportKeyingMaterial(channelLabel, nil, ChannelExporterBytes)
	if err != nil {
		return nil, fmt.Errorf("identity: channel exporter: %w", err)
	}
	return exporter, nil
}

// SignChannel proves the key on the channel with this exporter value.
func SignChannel(k *Key, exporter []byte, role ChannelRole) ([]byte, error) {
	message, err := channelMessage(exporter, role)
	if err != nil {
		return nil, err
	}
	return k.Sign(message)
}

// VerifyChannel checks what the peer, whose role is given, has signed.
// Every error matches ErrChannel.
func VerifyChannel(pub ed25519.PublicKey, exporter []byte, role ChannelRole, sig []byte) error {
	message, err := channelMessage(exporter, role)
	if err != nil {
		return err
	}
	if !verifyStrict(pub, message, sig) {
		return fmt.Errorf("identity: %w: bad signature of the %s", ErrChannel, role)
	}
	return nil
}

func channelMessage(exporter []byte, role ChannelRole) ([]byte, error) {
	if len(exporter) != ChannelExporterBytes {
		return nil, fmt.Errorf("identity: %w: exporter value of %d bytes, not %d", ErrChannel, len(exporter), ChannelExporterBytes)
	}
	if role != Dialer && role != Acceptor {
		return nil, fmt.Errorf("identity: %w: role %q", ErrChannel, string(role))
	}
	return fmt.Appendf(nil, "%s%s\x00%s", channelContext, role, exporter), nil
}
