// Package pins knows the official images that deploy/images/official.Dockerfile pins by digest.
package pins

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

var from = regexp.MustCompile(`(?m)^FROM (\S+) AS (\w+)$`)

// Image returns the image that the environment names, as in POSTGRES_IMAGE for "postgres", or
// else the official one. It panics if there is none.
func Image(name string) string {
	if image := os.Getenv(strings.ToUpper(name) + "_IMAGE"); image != "" {
		return image
	}
	image, ok := official()[name]
	if !ok {
		panic("pins: deploy/images/official.Dockerfile has no image " + name)
	}
	return image
}

// official returns the pinned images by name.
func official() map[string]string {
	text, err := os.ReadFile(path("deploy/images/official.Dockerfile"))
	if err != nil {
		panic(err)
	}
	images := map[string]string{}
	for _, line := range from.FindAllStringSubmatch(string(text), -1) {
		images[line[2]] = line[1]
	}
	return images
}

// path returns the path of a file of this repository.
func path(name string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../..", name)
}
