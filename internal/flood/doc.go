// Package flood attacks a live node in every way that its limits are for, all at once, while a daemon moves to it between
// honest nodes. It has nothing but its test, in which the node is a process of its own, so that what it takes can be told
// from what the attackers take.
package flood
