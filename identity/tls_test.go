package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

var (
	serverKey = KeyFromSeed([32]byte{1})
	clientKey = KeyFromSeed([32]byte{2})
	otherKey  = KeyFromSeed([32]byte{3})
	testALPN  = []string{"ferry-test"}
)

func only(k *Key) func(ed25519.PublicKey) error {
	return func(pub ed25519.PublicKey) error {
		if !pub.Equal(k.Public()) {
			return errStranger
		}
		return nil
	}
}

var errStranger = errors.New("a stranger")

// ends is what the two ends of one connection made of it.
type ends struct {
	client, server tls.ConnectionState
	clientErr      error // of the handshake, or of reading the server's first byte
	serverErr      error // of the handshake
}

// connect shakes hands over loopback and sends a byte from server to client.
func connect(t *testing.T, client, server *tls.Config) (e ends) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			e.serverErr = err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if e.serverErr = s.Handshake(); e.serverErr == nil {
			e.server = s.ConnectionState()
			s.Write([]byte{1})
			s.CloseWrite()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, client)
	if e.clientErr = c.Handshake(); e.clientErr == nil {
		e.client = c.ConnectionState()
		_, e.clientErr = c.Read(make([]byte, 1))
	}
	c.Close()
	conn.Close()
	<-done
	return e
}

func TestTLS(t *testing.T) {
	token, err := NewKey(opaqueSigner{clientKey.signer})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Key{clientKey, token} {
		e := connect(t, ClientTLS(k, testALPN, serverKey.Public()), ServerTLS(serverKey, testALPN, only(clientKey)))
		if e.clientErr != nil || e.serverErr != nil {
			t.Fatalf("client %v, server %v", e.clientErr, e.serverErr)
		}
		if pub, err := PeerKey(e.client); err != nil || !pub.Equal(serverKey.Public()) {
			t.Errorf("the client sees %x, %v", []byte(pub), err)
		}
		if pub, err := PeerKey(e.server); err != nil || !pub.Equal(clientKey.Public()) {
			t.Errorf("the server sees %x, %v", []byte(pub), err)
		}
		if e.client.Version != tls.VersionTLS13 || e.client.NegotiatedProtocol != testALPN[0] {
			t.Errorf("version %x, protocol %q", e.client.Version, e.client.NegotiatedProtocol)
		}
	}
}

func TestTLSWithoutALPN(t *testing.T) {
	e := connect(t, ClientTLS(clientKey, nil, serverKey.Public()), ServerTLS(serverKey, nil, only(clientKey)))
	if e.clientErr != nil || e.serverErr != nil {
		t.Errorf("client %v, server %v", e.clientErr, e.serverErr)
	}
}

func TestTLSWrongServer(t *testing.T) {
	e := connect(t, ClientTLS(clientKey, testALPN, serverKey.Public()), ServerTLS(otherKey, testALPN, only(clientKey)))
	pin, ok := errors.AsType[*PinError](e.clientErr)
	if !ok || !pin.Want.Equal(serverKey.Public()) || !pin.Got.Equal(otherKey.Public()) {
		t.Errorf("client: %v, want a PinError with both keys", e.clientErr)
	}
	if e.serverErr == nil {
		t.Error("the server has a connection")
	}
	for _, want := range []ed25519.PublicKey{nil, serverKey.Public()[:31]} {
		e := connect(t, ClientTLS(clientKey, testALPN, want), ServerTLS(serverKey, testALPN, only(clientKey)))
		if _, ok := errors.AsType[*PinError](e.clientErr); !ok {
			t.Errorf("pinned to %x: %v, want a PinError", []byte(want), e.clientErr)
		}
	}
}

func TestTLSWrongClient(t *testing.T) {
	for name, tt := range map[string]struct {
		allowed func(ed25519.PublicKey) error
		cause   error
	}{
		"another's key": {only(clientKey), errStranger},
		"nil allowed":   {nil, ErrNotAllowed},
	} {
		e := connect(t, ClientTLS(otherKey, testALPN, serverKey.Public()), ServerTLS(serverKey, testALPN, tt.allowed))
		if !errors.Is(e.serverErr, ErrNotAllowed) || !errors.Is(e.serverErr, tt.cause) {
			t.Errorf("%s: server: %v, want ErrNotAllowed and %v", name, e.serverErr, tt.cause)
		}
		if e.clientErr == nil {
			t.Errorf("%s: the client has read from a server that refused it", name)
		}
	}
}

func TestTLSCertificates(t *testing.T) {
	long := [2]time.Time{time.Unix(0, 0), time.Now().Add(time.Hour)}
	expired := [2]time.Time{time.Unix(0, 0), time.Unix(1, 0)}
	future := [2]time.Time{time.Now().Add(time.Hour), time.Now().Add(2 * time.Hour)}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecCert := certificate(t, long, ec.Public(), ec)
	ecCert.PrivateKey = ec
	chain := func(n int) *tls.Certificate {
		c := certificate(t, long, clientKey.Public(), clientKey.signer)
		c.Certificate = slices.Repeat(c.Certificate, n)
		return c
	}
	refused := func(err, want error) bool {
		if _, date := want.(*CertificateDateError); date {
			got, ok := errors.AsType[*CertificateDateError](err)
			return ok && got.Node == clientKey.NodeID() && !got.NotAfter.IsZero()
		}
		return errors.Is(err, want)
	}

	for _, tt := range []struct {
		name string
		cert *tls.Certificate // of a peer that has clientKey
		want error            // nil: it is taken
	}{
		{"plain", certificate(t, long, clientKey.Public(), clientKey.signer), nil},
		{"does not expire", certificate(t, [2]time.Time{time.Unix(0, 0), noExpiry}, clientKey.Public(), clientKey.signer), nil},
		{"expired", certificate(t, expired, clientKey.Public(), clientKey.signer), new(CertificateDateError)},
		{"not yet valid", certificate(t, future, clientKey.Public(), clientKey.signer), new(CertificateDateError)},
		{"expired, issued by another", certificate(t, expired, clientKey.Public(), otherKey.signer), new(CertificateDateError)},
		{"issued by another", certificate(t, long, clientKey.Public(), otherKey.signer), nil},
		{"two certificates", chain(2), nil},
		{"as many as there may be", chain(certificatesMax), nil},
		{"too many", chain(certificatesMax + 1), ErrPeerCertificate},
		{"ECDSA", ecCert, ErrPeerCertificate},
		{"none", nil, ErrPeerCertificate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Both ways round: as the certificate of a client and of a server.
			client := ClientTLS(clientKey, testALPN, serverKey.Public())
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if tt.cert == nil {
					return &tls.Certificate{}, nil
				}
				return tt.cert, nil
			}
			e := connect(t, client, ServerTLS(serverKey, testALPN, only(clientKey)))
			if ok := e.serverErr == nil && e.clientErr == nil; ok != (tt.want == nil) {
				t.Errorf("as a client: server %v, client %v", e.serverErr, e.clientErr)
			}
			if tt.want != nil && tt.cert != nil && !refused(e.serverErr, tt.want) {
				t.Errorf("as a client: server %v, want %T", e.serverErr, tt.want)
			}
			if tt.cert == nil {
				return // TLS has no server without a certificate
			}
			server := ServerTLS(clientKey, testALPN, only(otherKey))
			server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return tt.cert, nil }
			e = connect(t, ClientTLS(otherKey, testALPN, clientKey.Public()), server)
			if ok := e.serverErr == nil && e.clientErr == nil; ok != (tt.want == nil) {
				t.Errorf("as a server: server %v, client %v", e.serverErr, e.clientErr)
			}
			if tt.want != nil && !refused(e.clientErr, tt.want) {
				t.Errorf("as a server: client %v, want %T", e.clientErr, tt.want)
			}
		})
	}
}

// Someone who has copied a certificate, and has not its key, gets nowhere.
func TestTLSStolenCertificate(t *testing.T) {
	stolen, err := clientKey.certificate()
	if err != nil {
		t.Fatal(err)
	}
	client := ClientTLS(otherKey, testALPN, serverKey.Public())
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: stolen.Certificate, PrivateKey: otherKey.signer}, nil
	}
	e := connect(t, client, ServerTLS(serverKey, testALPN, only(clientKey)))
	if e.serverErr == nil {
		t.Error("a stolen certificate was enough")
	}
}

func TestTLSProtocol(t *testing.T) {
	silent := ClientTLS(clientKey, nil, serverKey.Public()) // TLS itself lets no ALPN pass
	e := connect(t, silent, ServerTLS(serverKey, testALPN, only(clientKey)))
	if !errors.Is(e.serverErr, ErrProtocol) {
		t.Errorf("server: %v, want ErrProtocol", e.serverErr)
	}
	deaf := ServerTLS(serverKey, nil, only(clientKey))
	e = connect(t, ClientTLS(clientKey, testALPN, serverKey.Public()), deaf)
	if !errors.Is(e.clientErr, ErrProtocol) {
		t.Errorf("client: %v, want ErrProtocol", e.clientErr)
	}
}

func TestTLSVersion(t *testing.T) {
	old := ClientTLS(clientKey, testALPN, serverKey.Public())
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if e := connect(t, old, ServerTLS(serverKey, testALPN, only(clientKey))); e.serverErr == nil {
		t.Error("the server speaks TLS 1.2")
	}
}

// Every connection proves the key anew, whatever the client remembers.
func TestTLSNoResumption(t *testing.T) {
	client := ClientTLS(clientKey, testALPN, serverKey.Public())
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	client.ServerName = "node"
	server := ServerTLS(serverKey, testALPN, only(clientKey))
	for range 2 {
		e := connect(t, client, server)
		if e.clientErr != nil || e.serverErr != nil || e.client.DidResume {
			t.Errorf("client %v, server %v, resumed %v", e.clientErr, e.serverErr, e.client.DidResume)
		}
	}
}

func TestCertificateIsStable(t *testing.T) {
	a, err := KeyFromSeed([32]byte{5}).certificate()
	if err != nil {
		t.Fatal(err)
	}
	b, err := KeyFromSeed([32]byte{5}).certificate()
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Certificate[0]) != string(b.Certificate[0]) {
		t.Error("two certificates of one key differ")
	}
}

func TestTLSBrokenSigner(t *testing.T) {
	k, err := NewKey(brokenSigner{opaqueSigner{clientKey.signer}})
	if err != nil {
		t.Fatal(err)
	}
	e := connect(t, ClientTLS(k, testALPN, serverKey.Public()), ServerTLS(serverKey, testALPN, only(clientKey)))
	if !errors.Is(e.clientErr, errUnplugged) {
		t.Errorf("client: %v, want the signer's error", e.clientErr)
	}
}

// certificate is for a public key and signed by any signer. The key that goes
// with it is clientKey.
func certificate(t *testing.T, valid [2]time.Time, public, signer any) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: valid[0], NotAfter: valid[1]}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(8)}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: clientKey.signer}
}
