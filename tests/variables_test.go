package tests

import (
	"go/ast"
	"go/token"
	"testing"
)

// Package variables are errors and tables: they have a value where they are
// declared, nothing assigns to them or to a part of them, and nothing takes their
// address. Names are resolved by file and package, not by type, which finds every
// assignment written out.
func TestPackageVariablesStay(t *testing.T) {
	files, sources := read(t)
	declared := map[string]map[string]bool{} // package, name
	for _, s := range sources {
		if s.test || testPackages.MatchString(s.pkg) {
			continue
		}
		for _, spec := range packageVars(s.file) {
			for _, name := range spec.Names {
				if name.Name == "_" {
					continue
				}
				if declared[s.pkg] == nil {
					declared[s.pkg] = map[string]bool{}
				}
				declared[s.pkg][name.Name] = true
				if _, excepted := packageVariables[s.pkg+"."+name.Name]; len(spec.Values) == 0 && !excepted {
					t.Errorf("%s: %s has no value where it is declared: it must be given one later", s.at(files, name.Pos()), name.Name)
				}
			}
		}
	}
	for _, s := range sources {
		if len(declared[s.pkg]) == 0 {
			continue
		}
		check := func(e ast.Expr, what string) {
			id := rootOf(e)
			if id == nil || !declared[s.pkg][id.Name] || isLocal(s.file, id) {
				return
			}
			if _, excepted := packageVariables[s.pkg+"."+id.Name]; !excepted {
				t.Errorf("%s: %s %s, a variable of the package", s.at(files, id.Pos()), what, id.Name)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						check(e, "assigns to")
					}
				}
			case *ast.IncDecStmt:
				check(n.X, "assigns to")
			case *ast.UnaryExpr:
				if id, ok := n.X.(*ast.Ident); ok && n.Op == token.AND {
					check(id, "takes the address of")
				}
			}
			return true
		})
	}
}

// packageVars are the variables declared outside of functions.
func packageVars(f *ast.File) []*ast.ValueSpec {
	var specs []*ast.ValueSpec
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, spec := range g.Specs {
				specs = append(specs, spec.(*ast.ValueSpec))
			}
		}
	}
	return specs
}

// rootOf is the x of x, x.y, x[i], *x and their compositions.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isLocal reports whether an identifier is declared inside a function of its file:
// the parser resolves those, and the file's own declarations.
func isLocal(f *ast.File, id *ast.Ident) bool {
	return id.Obj != nil && f.Scope.Lookup(id.Name) != id.Obj
}
