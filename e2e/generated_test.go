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

// A client generated from the contract can use the shop. A build overlay adds the generated
// file to the package that uses it.
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

	overlaid, err := filepath.Abs("generated/journey/client.go")
	require.NoError(t, err)
	overlay := filepath.Join(dir, "overlay.json")
	content, err := json.Marshal(map[string]map[string]string{"Replace": {overlaid: client}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, content, 0o600))
	journey := filepath.Join(dir, "journey")
	run("build", "-tags", "generated", "-overlay", overlay, "-o", journey, "./generated/journey")

	atEntryPoints(t, func(t *testing.T, base string) {
		out, err := exec.CommandContext(t.Context(), journey, base, strconv.FormatInt(newUser(), 10)).CombinedOutput()
		require.NoError(t, err, string(out))
	})
}
