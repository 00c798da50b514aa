package main

import (
	"os"
	"testing"
)

// TestSampler: what watches the memory adds nothing to it, and sees some.
func TestSampler(t *testing.T) {
	var s sampler
	s.reset()
	if n := testing.AllocsPerRun(100, s.sample); n != 0 {
		t.Errorf("a sample allocates %.0f times", n)
	}
	u := s.usage()
	if u.HeapPeak == 0 {
		t.Errorf("%+v", u)
	}
	if _, err := os.Stat("/proc/self/status"); err == nil && (u.AnonPeak < u.HeapPeak/2 || u.FilePeak == 0) {
		t.Errorf("%+v", u)
	}
	text := []byte("Name:\tbench\nRssAnonymous:\t7 kB\nRssAnon:\t    1234 kB\nRssFile:\t5 kB\n")
	if anon, file, none := statusKiB(text, "RssAnon"), statusKiB(text, "RssFile"), statusKiB(text, "RssShmem"); anon != 1234 || file != 5 || none != 0 {
		t.Errorf("%d, %d, %d", anon, file, none)
	}
}
