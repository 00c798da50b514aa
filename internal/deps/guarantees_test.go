package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// failureCases is how many there are in the failure catalogue.
const failureCases = 44

// testLink is a test that a document names.
var testLink = regexp.MustCompile(`\[((?:Test|Fuzz|Example)[\w/]*)\]\(([^)]+)\)`)

// namedTests holds that every test that a document names exists where it says, and gives how many there are.
func namedTests(t *testing.T, text []byte) int {
	t.Helper()
	links := testLink.FindAllStringSubmatch(string(text), -1)
	for _, m := range links {
		name, sub, isScript := strings.Cut(m[1], "/")
		path := filepath.Join("../../docs", m[2])
		if isScript {
			if name != "TestScripts" || filepath.Base(path) != sub+".txt" {
				t.Errorf("%s: %s is not its script", m[1], m[2])
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
			path = "../../migration/script_test.go"
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
		} else if !strings.Contains(string(source), "\nfunc "+name+"(") {
			t.Errorf("%s is not in %s", name, m[2])
		}
	}
	return len(links)
}

// TestSecurityNamesTests: the same of docs/security.md.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	if namedTests(t, text) == 0 {
		t.Error("no test is named")
	}
}

// TestGuaranteesNameTests: every test that docs/guarantees.md names exists where
// it says, and every case of the failure catalogue has one, or a reason.
func TestGuaranteesNameTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := namedTests(t, text); n < failureCases {
		t.Errorf("only %d tests are named", n)
	}
	row := regexp.MustCompile(`(?m)^\| (\d+) \| (.+) \| (.+) \|$`)
	next := 1
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if n, _ := strconv.Atoi(m[1]); n != next {
			t.Errorf("case %d follows case %d", n, next-1)
		}
		if !testLink.MatchString(m[3]) && !strings.HasPrefix(m[3], "cannot occur: ") {
			t.Errorf("case %s has neither a test nor a reason: %s", m[1], m[3])
		}
		next++
	}
	if next-1 != failureCases {
		t.Errorf("%d cases, the catalogue has %d", next-1, failureCases)
	}
}
