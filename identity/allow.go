package identity

// AllowList says which nodes may do something, such as orchestrate a daemon.
// The zero value, and a list made of no ids, allows nobody. It is immutable.
type AllowList struct {
	all bool
	ids map[NodeID]struct{}
}

// NewAllowList allows these nodes and no other.
func NewAllowList(ids ...NodeID) AllowList {
	list := AllowList{ids: make(map[NodeID]struct{}, len(ids))}
	for _, id := range ids {
		list.ids[id] = struct{}{}
	}
	return list
}

// AllowAll allows every node that has proven its key. It has to be asked for by
// name: no empty or forgotten list means it.
func AllowAll() AllowList { return AllowList{all: true} }

// Allows reports whether the node is on the list.
func (l AllowList) Allows(id NodeID) bool {
	_, ok := l.ids[id]
	return ok || l.all
}
