package service_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/test/docstest"
)

// docs/operations/logs.md contains exactly the warnings and errors that the services log.
func TestLogMessagesAreDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]string{}
	for _, row := range docstest.Table(t, "docs/operations/logs.md") {
		documented[row[0]] = row[1]
	}
	logged := map[string]string{}
	for _, module := range []string{"shared", "orders", "payments", "gateway"} {
		err := fs.WalkDir(os.DirFS("../.."), module, func(path string, d fs.DirEntry, err error) error {
			switch {
			case path == "shared/test":
				return fs.SkipDir
			case err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", path), nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if message, level := logCall(t, path, n); level != "" {
					logged[message] = level
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	for message, level := range logged {
		if level == "any" && documented[message] != "" { // the table names the highest level
			logged[message] = documented[message]
		}
	}
	require.Equal(t, logged, documented)
}

// logCall returns the message and the level of a call that logs a warning or an error, or
// whose level is only known when it runs.
func logCall(t *testing.T, path string, n ast.Node) (message, level string) {
	t.Helper()
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	arg := 1
	switch method.Sel.Name {
	case "WarnContext":
		level = "warn"
	case "ErrorContext":
		level = "error"
	case "LogAttrs", "Log":
		level, arg = "any", 2
	default:
		return "", ""
	}
	if len(call.Args) <= arg {
		return "", "" // another function of this name
	}
	literal, ok := call.Args[arg].(*ast.BasicLit)
	require.True(t, ok, "%s: %s needs a constant message", path, method.Sel.Name)
	message, err := strconv.Unquote(literal.Value)
	require.NoError(t, err)
	return message, level
}
