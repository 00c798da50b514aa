// Command cover holds a coverage profile to what is promised of it: in each package at least 95 % of the statements are
// reached, and of each function that has others, a list says why.
//
//	go run ./internal/cover -list docs/coverage.md profile
//
// A line of the list that begins with "| `frame/reader.go` Reader.Next |" is for that function; what follows is the reason.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

const module = "ferry/"

func main() {
	list := flag.String("list", "docs/coverage.md", "where the functions with statements left stand, each with its reason")
	least := flag.Float64("least", 95, "percent of each package's statements")
	flag.Parse()
	if err := run(os.Stdout, flag.Arg(0), *list, *least); err != nil {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, profile, list string, least float64) error {
	blocks, err := readProfile(profile)
	if err != nil {
		return err
	}
	listed, err := readList(list)
	if err != nil {
		return err
	}
	var wrong []error
	for _, p := range packages(blocks) {
		fmt.Fprintf(out, "%-12s %5.1f %%  %d of %d statements left\n", p.name, p.percent(), p.left, p.all)
		if p.percent() < least {
			wrong = append(wrong, fmt.Errorf("%s: %.1f %% is below %g %%", p.name, p.percent(), least))
		}
	}
	left, err := functionsLeft(blocks)
	if err != nil {
		return err
	}
	for _, f := range slices.Sorted(maps.Keys(left)) {
		if !listed[f] {
			wrong = append(wrong, fmt.Errorf("%s: lines %v are not reached, and %s does not say why", f, left[f], list))
		}
	}
	for _, f := range slices.Sorted(maps.Keys(listed)) {
		if left[f] == nil {
			wrong = append(wrong, fmt.Errorf("%s is in %s, but all of it is reached", f, list))
		}
	}
	return errors.Join(wrong...)
}

// block is some statements that are reached together.
type block struct {
	file       string // below the module
	line       int    // where it begins
	statements int
	reached    bool
}

// readProfile reads what go test -coverprofile writes. A block stands there once for each test binary.
func readProfile(name string) ([]block, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	at := make(map[string]int) // by place: index into blocks
	var blocks []block
	s := bufio.NewScanner(f)
	for s.Scan() {
		if strings.HasPrefix(s.Text(), "mode: ") {
			continue
		}
		// ferry/frame/reader.go:48.2,50.16 3 12
		file, rest, _ := strings.Cut(s.Text(), ":")
		var line, column, endLine, endColumn, statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &line, &column, &endLine, &endColumn, &statements, &count); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, s.Text(), err)
		}
		place := fmt.Sprintf("%s:%d.%d", file, line, column)
		i, ok := at[place]
		if !ok {
			i = len(blocks)
			at[place] = i
			blocks = append(blocks, block{file: strings.TrimPrefix(file, module), line: line, statements: statements})
		}
		blocks[i].reached = blocks[i].reached || count > 0
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s has no blocks", name)
	}
	return blocks, nil
}

type pkg struct {
	name      string
	all, left int
}

func (p pkg) percent() float64 { return 100 * float64(p.all-p.left) / float64(p.all) }

func packages(blocks []block) []pkg {
	by := make(map[string]pkg)
	for _, b := range blocks {
		p := by[path.Dir(b.file)]
		p.name = path.Dir(b.file)
		p.all += b.statements
		if !b.reached {
			p.left += b.statements
		}
		by[p.name] = p
	}
	return slices.SortedFunc(maps.Values(by), func(a, b pkg) int { return strings.Compare(a.name, b.name) })
}

// functionsLeft has the lines that are not reached, by file and function: "`frame/reader.go` Reader.Next".
func functionsLeft(blocks []block) (map[string][]int, error) {
	files := make(map[string]*ast.File)
	fset := token.NewFileSet()
	left := make(map[string][]int)
	for _, b := range blocks {
		if b.reached || b.statements == 0 {
			continue
		}
		f := files[b.file]
		if f == nil {
			var err error
			if f, err = parser.ParseFile(fset, b.file, nil, parser.SkipObjectResolution); err != nil {
				return nil, err
			}
			files[b.file] = f
		}
		name := fmt.Sprintf("`%s` %s", b.file, functionAt(fset, f, b.line))
		left[name] = append(left[name], b.line)
	}
	return left, nil
}

func functionAt(fset *token.FileSet, f *ast.File, line int) string {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || line < fset.Position(fn.Pos()).Line || line > fset.Position(fn.End()).Line {
			continue
		}
		if fn.Recv == nil {
			return fn.Name.Name
		}
		receiver := fn.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		if id, ok := receiver.(*ast.Ident); ok {
			return id.Name + "." + fn.Name.Name
		}
		return fn.Name.Name
	}
	return "outside of a function"
}

func readList(name string) (map[string]bool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) >= 3 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			if strings.TrimSpace(cells[2]) == "" {
				return nil, fmt.Errorf("%s: no reason: %s", name, strings.TrimSpace(line))
			}
			listed[strings.TrimSpace(cells[1])] = true
		}
	}
	return listed, nil
}
