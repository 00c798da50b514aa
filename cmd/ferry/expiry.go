package main

import (
	"log/slog"
	"time"

	"ferry/identity"
)

// expiryWarning is how long before its end a certificate is worth a line.
const expiryWarning = 30 * 24 * time.Hour

// warnExpiry tells the operator whose own certificate is about to end. A
// running node is refused by the others from that moment on.
func warnExpiry(log *slog.Logger, path string, key *identity.Key) {
	if end, ok := key.CertificateExpires(); ok && time.Until(end) < expiryWarning {
		log.Warn("the certificate expires soon: renew it, and start the node again", "file", path, "expires", end.UTC().Format(time.RFC3339))
	}
}
