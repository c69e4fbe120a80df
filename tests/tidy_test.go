// Package tests holds what is tested of the whole: the rules of the code
// (tidy_test.go), the simulated cluster (sim), a real cluster on a network that
// breaks (chaos), real clients (compat) and a running server in trouble (script).
//
// The rules are executed here because rules that are only written down decay. Each
// test names the file and the line that breaks its rule; where a rule has an
// exception, the exception is in a table here with its reason.
package tests

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports is the graph of packages: what each may import of this module.
// Packages for tests only (rpctest, membertest) are not in it: see testPackages.
var imports = map[string][]string{
	".":      {"server/cli"},
	"config": {},
	"resp":   {},

	"server/cli":     {"cluster", "cluster/coordinator", "cluster/hot", "cluster/ring", "config", "resp", "server", "server/admin", "server/command", "storage", "storage/offline", "storage/vfs"},
	"server":         {"cluster/coordinator", "resp", "server/command"},
	"server/admin":   {},
	"server/command": {"cluster", "cluster/coordinator", "cluster/ring", "cluster/version", "resp"},

	"cluster": {"cluster/antientropy", "cluster/backup", "cluster/consensus", "cluster/coordinator", "cluster/hint", "cluster/hlc", "cluster/hot", "cluster/membership", "cluster/replica", "cluster/ring", "cluster/rpc", "cluster/transfer", "cluster/version", "cluster/wire",
		"storage", "storage/corrupt", "storage/key", "storage/vfs"},
	"cluster/antientropy": {"cluster/hlc", "cluster/replica", "cluster/ring", "cluster/version", "storage/key"},
	"cluster/backup":      {"storage/vfs"},
	"cluster/consensus":   {"cluster/ring"},
	"cluster/coordinator": {"cluster/hlc", "cluster/hot", "cluster/replica", "cluster/ring", "cluster/version", "cluster/wire", "storage/prefetch"},
	"cluster/hint":        {"cluster/replica", "cluster/ring", "storage/key"},
	"cluster/hlc":         {},
	"cluster/hot":         {"cluster/ring"},
	"cluster/membership":  {"cluster/ring"},
	"cluster/replica":     {"cluster/hlc", "cluster/ring", "cluster/version", "storage/key", "storage/prefetch"},
	"cluster/ring":        {},
	"cluster/rpc":         {"cluster/ring", "cluster/wire"},
	"cluster/transfer":    {"cluster/ring"},
	"cluster/version":     {"cluster/hlc"},
	"cluster/wire":        {"cluster/ring"},

	"storage": {"storage/cache", "storage/compaction", "storage/corrupt", "storage/entry", "storage/manifest", "storage/memtable",
		"storage/sstable", "storage/sum", "storage/vfs", "storage/wal"},
	"storage/cache":      {"storage/prefetch"},
	"storage/compaction": {"storage/entry", "storage/sstable"},
	"storage/corrupt":    {},
	"storage/entry":      {},
	"storage/key":        {},
	"storage/manifest":   {"storage/corrupt", "storage/sum", "storage/vfs", "storage/wal"},
	"storage/memtable":   {"storage/entry", "storage/prefetch"},
	"storage/offline": {"storage", "storage/compaction", "storage/corrupt", "storage/entry", "storage/key", "storage/manifest",
		"storage/sstable", "storage/vfs", "storage/wal"},
	"storage/prefetch": {},
	"storage/sstable":  {"storage/cache", "storage/corrupt", "storage/entry", "storage/prefetch", "storage/vfs"},
	"storage/sum":      {},
	"storage/vfs":      {},
	"storage/wal":      {"storage/corrupt", "storage/vfs"},
}

// testPackages are imported by tests alone, and may import anything.
var testPackages = regexp.MustCompile(`^(tests|benchmarks)(/|$)|test$`)

// Length of files. A file over longFile lines is a second idea waiting to be found:
// those that stand are in longFiles with their length, which may only shrink.
const (
	longestFile = 700
	longFile    = 500
)

var longFiles = map[string]int{}

// packageVariables are the variables of packages that change after they are
// declared, with the reason.
var packageVariables = map[string]string{}

// source is one Go file of the module.
type source struct {
	path string // from the root of the module, with slashes
	pkg  string // its directory: "." or "storage/wal"
	test bool
	text []byte
	file *ast.File
}

func (s *source) at(files *token.FileSet, p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, files.Position(p).Line)
}

const root = ".."

// read parses every Go file of the module, and of the modules inside it.
func read(t *testing.T) (*token.FileSet, []*source) {
	t.Helper()
	files := token.NewFileSet()
	var sources []*source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		f, err := parser.ParseFile(files, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		sources = append(sources, &source{rel, path.Dir(rel), strings.HasSuffix(rel, "_test.go"), text, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 100 {
		t.Fatalf("found only %d files: this test looks in the wrong place", len(sources))
	}
	return files, sources
}

func TestImportGraph(t *testing.T) {
	files, sources := read(t)
	seen := map[string]bool{}
	for _, s := range sources {
		if s.test || testPackages.MatchString(s.pkg) {
			continue
		}
		seen[s.pkg] = true
		allowed, known := imports[s.pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table of imports", s.path, s.pkg)
			continue
		}
		for _, spec := range s.file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if ours, ok := strings.CutPrefix(name, "kvstore/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s: %s must not import %s", s.at(files, spec.Pos()), s.pkg, ours)
			}
		}
	}
	for pkg := range imports {
		if !seen[pkg] {
			t.Errorf("the table of imports has %s, which does not exist", pkg)
		}
	}
}

func TestOnePackageCommentEach(t *testing.T) {
	_, sources := read(t)
	comments := map[string][]string{}
	for _, s := range sources {
		if strings.HasSuffix(s.file.Name.Name, "_test") {
			continue // an external test is documented by what it tests
		}
		if _, ok := comments[s.pkg]; !ok {
			comments[s.pkg] = nil
		}
		if s.file.Doc != nil {
			comments[s.pkg] = append(comments[s.pkg], s.path)
			want := "Package " + s.file.Name.Name + " "
			if s.file.Name.Name == "main" {
				want = "Command "
			}
			if !strings.HasPrefix(s.file.Doc.Text(), want) {
				t.Errorf("%s: the package comment does not begin with %q", s.path, want)
			}
		}
	}
	for pkg, at := range comments {
		if len(at) != 1 {
			t.Errorf("package %s has %d package comments, not one: %v", pkg, len(at), at)
		}
	}
}

func TestNoInit(t *testing.T) {
	files, sources := read(t)
	for _, s := range sources {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init runs before anybody asks; build it where it is used", s.at(files, f.Pos()))
			}
		}
	}
}

func TestFileLength(t *testing.T) {
	_, sources := read(t)
	found := map[string]bool{}
	for _, s := range sources {
		lines := bytes.Count(s.text, []byte("\n"))
		recorded, long := longFiles[s.path]
		found[s.path] = true
		switch {
		case lines > longestFile:
			t.Errorf("%s has %d lines; %d is a wall", s.path, lines, longestFile)
		case long && lines > recorded:
			t.Errorf("%s grew from %d to %d lines; it may only shrink", s.path, recorded, lines)
		case long && lines < recorded:
			t.Errorf("%s shrank from %d to %d lines: write that down in longFiles (or remove it there at %d)", s.path, recorded, lines, longFile)
		case !long && lines > longFile:
			t.Errorf("%s has %d lines: past %d look for the second idea", s.path, lines, longFile)
		}
	}
	for name := range longFiles {
		if !found[name] {
			t.Errorf("longFiles has %s, which does not exist", name)
		}
	}
}

func TestFormatted(t *testing.T) {
	_, sources := read(t)
	for _, s := range sources {
		got, err := format.Source(s.text)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
		} else if !bytes.Equal(got, s.text) {
			t.Errorf("%s: run gofmt", s.path)
		}
	}
}

// Work that is not done is an issue, not a comment. The words are spelled apart so
// that they are not found here.
func TestNothingLeftForLater(t *testing.T) {
	files, sources := read(t)
	later := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, s := range sources {
		for _, group := range s.file.Comments {
			if word := later.FindString(group.Text()); word != "" {
				t.Errorf("%s: %s", s.at(files, group.Pos()), word)
			}
		}
	}
}

func TestNames(t *testing.T) {
	_, sources := read(t)
	vague := regexp.MustCompile(`(^|/|_)(utils?|common|helpers?|base|manager|misc)(\.go$|_|/|$)`)
	for _, s := range sources {
		if vague.MatchString(s.path) {
			t.Errorf("%s: the name says nothing about what is inside", s.path)
		}
	}
}

// A test that is skipped looks like one that passes.
func TestNoSkips(t *testing.T) {
	files, sources := read(t)
	for _, s := range sources {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := call.X.(*ast.Ident)
			if ok && s.test && (slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, call.Sel.Name) && len(x.Name) <= 2 || x.Name == "testing" && call.Sel.Name == "Short") {
				t.Errorf("%s: %s.%s: a test runs or fails", s.at(files, call.Pos()), x.Name, call.Sel.Name)
			}
			return true
		})
	}
}
