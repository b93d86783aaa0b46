package containertest

import (
	"path/filepath"
	"runtime"
)

// Deployed returns the path of a file of the folder deploy, which the shop mounts too.
func Deployed(name string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../../deploy", name)
}
