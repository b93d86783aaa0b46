//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A client that is generated from the contract shops as a stranger's would. The
// generated file exists in the build alone, laid over the package that uses it.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	client := filepath.Join(dir, "client.go")
	run("tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", client, "../docs/openapi.yaml")

	beside, err := filepath.Abs("generated/journey/client.go")
	require.NoError(t, err)
	overlay := filepath.Join(dir, "overlay.json")
	content, err := json.Marshal(map[string]map[string]string{"Replace": {beside: client}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, content, 0o600))
	journey := filepath.Join(dir, "journey")
	run("build", "-tags", "generated", "-overlay", overlay, "-o", journey, "./generated/journey")

	doors(t, func(t *testing.T, door string) {
		out, err := exec.CommandContext(t.Context(), journey, door, strconv.FormatInt(newUser(), 10)).CombinedOutput()
		require.NoError(t, err, string(out))
	})
}
