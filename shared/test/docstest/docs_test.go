package docstest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// levels1And2 has the number of requirements of OWASP ASVS 5.0.0 at levels 1 and 2, for each
// section of the chapters that apply. In each section, these are the first ones.
var levels1And2 = map[string]int{
	"1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2, "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
	"3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2, "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
	"8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1, "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
	"12.1": 3, "12.2": 2, "12.3": 4, "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5, "14.1": 2, "14.2": 4, "14.3": 3,
	"15.1": 3, "15.2": 3, "15.3": 7, "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
}

// docs/security.md answers every requirement once, and shows what it claims.
func TestSecurityRequirementsAreAnswered(t *testing.T) {
	t.Parallel()
	var want, answered []string
	for section, count := range levels1And2 {
		for i := range count {
			want = append(want, fmt.Sprintf("%s.%d", section, i+1))
		}
	}
	for i := range 10 {
		want = append(want, fmt.Sprintf("API%d", i+1))
	}
	for _, row := range Table(t, "docs/security.md") {
		if len(row) < 5 { // not a table of requirements
			continue
		}
		ids, status, reason, proof := strings.Split(row[0], "`, `"), row[2], row[3], row[4]
		answered = append(answered, ids...)
		require.NotEmpty(t, strings.Trim(reason, "| "), ids)
		switch status {
		case "met":
			require.Regexp(t, "`(Test|make )"+documented(ids), proof, ids)
		case "not met", "does not apply":
		default:
			require.Fail(t, "unknown status", "%s: %q", ids, status)
		}
	}
	require.ElementsMatch(t, want, answered)
}

// documented returns an alternative of a regular expression: requirements of documentation,
// which are in the first section of most chapters, are shown by a link to it.
func documented(ids []string) string {
	if slices.ContainsFunc(ids, func(id string) bool { return strings.Split(id+".", ".")[1] != "1" }) {
		return ""
	}
	return `|\]\(`
}

// Every test and every make target that the documentation names in code exists.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	tests, documents := map[string]bool{}, map[string]string{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	require.NoError(t, fs.WalkDir(os.DirFS(root()), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root(), path))
		if strings.HasSuffix(path, ".md") {
			documents[path] = string(text)
		}
		for _, f := range function.FindAllStringSubmatch(string(text), -1) {
			tests[f[1]] = true
		}
		return err
	}))
	require.Contains(t, documents, "docs/security.md")
	makefile, err := os.ReadFile(filepath.Join(root(), "Makefile"))
	require.NoError(t, err)
	named := regexp.MustCompile("`(?:(Test\\w+)|make ([a-z0-9-]+))")
	for path, text := range documents {
		for _, name := range named.FindAllStringSubmatch(text, -1) {
			if name[1] != "" {
				require.True(t, tests[name[1]], "%s names %s", path, name[1])
			} else {
				require.Contains(t, string(makefile), "\n"+name[2]+":", "%s names make %s", path, name[2])
			}
		}
	}
}
