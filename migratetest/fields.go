package migratetest

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"ferry/daemon"
)

// leavesMax bounds how many values of a daemon are looked at.
const leavesMax = 50_000

// fieldsOf gives the values in a daemon's struct, by their paths: "max", "users[\"a\"].seen". It descends into the
// author's own types and those of the standard library that hold values.
func fieldsOf(d daemon.Daemon) map[string]string {
	v := reflect.ValueOf(d)
	t := v.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	l := &looker{own: t.PkgPath(), out: make(map[string]string), seen: make(map[visit]bool)}
	l.look("", v)
	return l.out
}

type looker struct {
	own  string
	out  map[string]string
	seen map[visit]bool
}

type visit struct {
	at uintptr
	t  reflect.Type
}

// held are the packages, of the standard library and ferry, whose values may be state.
var held = []string{"ferry/daemon", "ferry/proto0500", "time", "sync/atomic", "container/list", "container/ring", "math/big", "bytes", "strings", "net/netip"}

// module is that under test: the author's.
var module = func() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path != "" {
		return info.Main.Path
	}
	return "\x00"
}()

func (l *looker) skips(t reflect.Type) bool {
	if t == reflect.TypeFor[daemon.Env]() {
		return true
	}
	p := t.PkgPath()
	switch t.Kind() {
	case reflect.Struct, reflect.Interface:
		return p != "" && p != l.own && !slices.Contains(held, p) && p != module && !strings.HasPrefix(p, module+"/")
	}
	return false
}

func (l *looker) look(path string, v reflect.Value) {
	if len(l.out) >= leavesMax || !v.IsValid() || l.skips(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			l.out[path] = "nil"
			return
		}
		at := visit{v.Pointer(), v.Type()}
		if l.seen[at] {
			return
		}
		l.seen[at] = true
		l.look(path, v.Elem())
	case reflect.Interface:
		l.look(path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			at := path
			if !f.Anonymous {
				at = strings.TrimPrefix(path+"."+f.Name, ".")
			}
			l.look(at, v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			l.out[path] = fmt.Sprintf("%q", v) // nil and empty are the same
			return
		}
		l.out["len("+path+")"] = strconv.Itoa(v.Len())
		for i := range v.Len() {
			l.look(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		l.out["len("+path+")"] = strconv.Itoa(v.Len())
		for it := v.MapRange(); it.Next(); {
			l.look(path+"["+key(it.Key())+"]", it.Value())
		}
	case reflect.Func, reflect.Chan, reflect.UnsafePointer, reflect.Uintptr:
	case reflect.String:
		l.out[path] = strconv.Quote(v.String())
	default:
		l.out[path] = fmt.Sprint(v)
	}
}

func key(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return strconv.Quote(v.String())
	}
	return fmt.Sprint(v)
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// fieldName is a path without the indexes in it, and without len().
func fieldName(path string) string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "len("), ")")
	return index.ReplaceAllString(path, "")
}

// fieldDiff is one value that differs.
type fieldDiff struct{ path, a, b string }

const absent = "absent"

// differing lists the values that differ, by path.
func differing(a, b map[string]string) (list []fieldDiff) {
	for path, v := range a {
		if w, ok := b[path]; !ok {
			list = append(list, fieldDiff{path, v, absent})
		} else if v != w {
			list = append(list, fieldDiff{path, v, w})
		}
	}
	for path, w := range b {
		if _, ok := a[path]; !ok {
			list = append(list, fieldDiff{path, absent, w})
		}
	}
	slices.SortFunc(list, func(x, y fieldDiff) int { return strings.Compare(x.path, y.path) })
	return list
}

// quiet takes out what is no state.
func (k *kit) quiet(m map[string]string) map[string]string {
	maps.DeleteFunc(m, func(path, _ string) bool {
		name := fieldName(path)
		for {
			if k.noise[name] {
				return true
			}
			i := strings.LastIndexByte(name, '.')
			if i < 0 {
				return false
			}
			name = name[:i]
		}
	})
	return m
}
