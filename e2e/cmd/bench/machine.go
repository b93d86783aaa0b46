package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"gozon/e2e/stack"
	"gozon/shared/test/pins"
)

// describeMachine returns what is known about the machine and the version of the shop.
func describeMachine(ctx context.Context) []Property {
	commit := output(ctx, "git", "-C", stack.Root(), "rev-parse", "--short", "HEAD")
	if output(ctx, "git", "-C", stack.Root(), "status", "--porcelain") != "" {
		commit += " with uncommitted changes"
	}
	info := output(ctx, "docker", "info", "-f", "{{.ServerVersion}}, {{.NCPU}} cores, {{.MemTotal}} bytes of memory, kernel {{.KernelVersion}}, storage {{.Driver}}, cgroup v{{.CgroupVersion}}")
	return []Property{
		{"commit", commit},
		{"CPU", cpuModel()},
		{"Docker Engine", info},
		{"Go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		{"images", strings.Join([]string{pins.Image("postgres"), pins.Image("rabbitmq"), pins.Image("nginx")}, ", ")},
	}
}

// output returns the standard output of a command, or "unknown" if it fails.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown" // not Linux
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
