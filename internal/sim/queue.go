package sim

// item is something that happens at a time: a frame arrives, or do is called.
type item struct {
	at int64 // microseconds
	n  uint64
	f  *flight
	do func()
}

// queue is a heap by time, then by age.
type queue struct {
	items []item
	n     uint64
}

func (q *queue) less(a, b *item) bool { return a.at < b.at || a.at == b.at && a.n < b.n }

func (q *queue) push(it item) {
	q.n++
	it.n = q.n
	q.items = append(q.items, it)
	i := len(q.items) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !q.less(&q.items[i], &q.items[up]) {
			break
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

func (q *queue) pop() (item, bool) {
	if len(q.items) == 0 {
		return item{}, false
	}
	top, last := q.items[0], len(q.items)-1
	q.items[0], q.items[last] = q.items[last], item{}
	q.items = q.items[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if right := down + 1; right < last && q.less(&q.items[right], &q.items[down]) {
			down = right
		}
		if !q.less(&q.items[down], &q.items[i]) {
			break
		}
		q.items[i], q.items[down] = q.items[down], q.items[i]
		i = down
	}
	return top, true
}
