// Package transport carries frames and bulk bytes between nodes over QUIC. It knows no message.
//
// Two nodes that talk share a Session: one control stream with frames in both directions, an ordered stream for the
// events of each daemon on the move, and lanes (streams spread over further connections) for its chunks. Bulk never
// runs on the connection of the control stream where that can be avoided, and where it does run there, its windows
// leave the control stream room (see Config.ConnWindow).
//
// There are three ways in. A node with a socket of its own calls Listen. A program that already has a *quic.Transport
// gives it to UseTransport, keeps its one Listener, offers TLSConfig to whoever asks for ALPN, and hands such
// connections to Accept. A program that already has a *quic.Conn for a protocol of its own calls Attach, and its accept
// loop hands the streams that begin with our prefix (IsPrefix) to HandleStream; there we never call AcceptStream.
//
// Whoever speaks is proven by TLS 1.3 pinned to node keys, and in every way in once more by a signature over the TLS
// exporter at the start of the control stream. Where two nodes cannot reach each other a third splices opaque bytes for
// them, with TLS inside: it can cut, and never forge. It could also fall silent while its own connections stay alive;
// that is for the layer above to notice, which times out on progress.
//
// All integers are little endian. The layouts are beside the types prefix, preamble and relayHeader.
package transport
