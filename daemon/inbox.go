package daemon

// inboxBytesMax bounds the control messages that wait for all stewards together.
// A session whose message finds no room waits with it, and by flow control the
// peer; stewards take what waits one by one, so that the next is soon there.
const inboxBytesMax = 32 << 20

// reserve waits until a message of so many bytes may wait for a steward, and
// gives how it is put there, to be called once.
func (h *Host) reserve(st *steward, bytes int) (post func(f func()), ok bool) {
	n := min(int64(bytes), inboxBytesMax)
	if h.inbox.Acquire(h.ctx, n) != nil {
		return nil, false
	}
	return func(f func()) { st.postWith(h.ctx, f, func() { h.inbox.Release(n) }) }, true
}
