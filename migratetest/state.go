package migratetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ferry/daemon"
)

// picture is all that is known of one copy's state.
type picture struct {
	bytes  []byte // Options.State, or the snapshot's
	digest uint64 // 0: none
	fields map[string]string
}

func (s *specimen) picture() (p picture, err error) {
	if d, ok := s.d.(daemon.Digester); ok {
		if err := guard("Digest", func() (err error) { p.digest, err = d.Digest(); return err }); err != nil {
			return p, err
		}
	}
	p.fields = s.k.quiet(fieldsOf(s.d))
	if s.k.opts.State != nil {
		err = guard("Options.State", func() (err error) { p.bytes, err = s.k.opts.State(s.d); return err })
		return p, err
	}
	p.bytes, err = s.image()
	return p, err
}

// flat is a picture as bytes, for the simulator, which compares copies with the twin.
func (k *kit) flat(p picture) []byte {
	b := fmt.Appendf(nil, "%016x %d ", p.digest, len(p.bytes))
	b = append(b, p.bytes...)
	if k.opts.State == nil {
		for _, path := range slices.Sorted(maps.Keys(p.fields)) {
			b = fmt.Appendf(b, "\n%s=%s", path, p.fields[path])
		}
	}
	return b
}

// diff is how two states differ.
type diff struct {
	a, b          picture
	bytes, digest bool
	fields        []fieldDiff
	stateFn       bool // bytes are those of Options.State
}

func (k *kit) diff(a, b picture) diff {
	return diff{
		a: a, b: b, stateFn: k.opts.State != nil,
		bytes:  !bytes.Equal(a.bytes, b.bytes),
		digest: a.digest != 0 && b.digest != 0 && a.digest != b.digest,
		fields: differing(k.quiet(maps.Clone(a.fields)), k.quiet(maps.Clone(b.fields))),
	}
}

// outside: what others can see differs.
func (d diff) outside() bool { return d.bytes || d.digest }

// any: there is a difference in what counts. Fields do where nobody has said what the state is.
func (d diff) any() bool { return d.outside() || !d.stateFn && len(d.fields) > 0 }

// words say what differs, one sentence each.
func (d diff) words(a, b string) (lines []string) {
	if d.digest {
		lines = append(lines, fmt.Sprintf("Digest is %016x in %s and %016x in %s", d.a.digest, a, d.b.digest, b))
	}
	if d.bytes {
		what := "their snapshots"
		if d.stateFn {
			what = "their Options.State"
		}
		at := 0
		for at < min(len(d.a.bytes), len(d.b.bytes)) && d.a.bytes[at] == d.b.bytes[at] {
			at++
		}
		lines = append(lines, fmt.Sprintf("%s differ from byte %d on, of %d and %d", what, at, len(d.a.bytes), len(d.b.bytes)))
	}
	for i, f := range d.fields {
		if i == 4 {
			return append(lines, fmt.Sprintf("and %d more values differ", len(d.fields)-i))
		}
		lines = append(lines, fmt.Sprintf("%s is %s in %s and %s in %s", f.path, short(f.a), a, short(f.b), b))
	}
	return lines
}

// names are the fields that differ, in words; what lies within one is not named again.
func (d diff) names() string {
	var all []string
	for _, f := range d.fields {
		all = append(all, fieldName(f.path))
	}
	slices.Sort(all)
	var names []string
	outer := "\x00"
	for _, n := range all {
		if n != outer && !strings.HasPrefix(n, outer+".") {
			outer = n
			names = append(names, "`"+n+"`")
		}
	}
	return strings.Join(names[:min(len(names), 4)], ", ")
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
