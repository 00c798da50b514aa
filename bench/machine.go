package main

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine says where and by what a document was made.
type Machine struct {
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	CPUs    int               `json:"cpus"`
	CPU     string            `json:"cpu,omitempty"`
	Kernel  string            `json:"kernel,omitempty"`
	Go      string            `json:"go"`
	Modules map[string]string `json:"modules"` // versions of what the figures depend on
	Command string            `json:"command"`
}

func machine() Machine {
	m := Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		CPU: field("/proc/cpuinfo", "model name"), Modules: make(map[string]string),
		Command: strings.TrimSpace("go run ./bench " + strings.Join(os.Args[1:], " ")),
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/quic-go/quic-go", "github.com/klauspost/compress", "github.com/zeebo/xxh3", "go.etcd.io/bbolt":
				m.Modules[d.Path] = d.Version
			}
		}
	}
	return m
}

// field is the value of the first line "name : value" of a file, or "".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
