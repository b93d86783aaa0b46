package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Engine reads what containers use from the API of the Docker engine (20.10 or newer). It is
// safe for concurrent use.
type Engine struct {
	http *http.Client
	base string
}

// Usage is what a container has used.
type Usage struct {
	CPU time.Duration // CPU time of all its processes since it started
	// Memory is the working set in bytes: all memory that is charged to the container, less
	// the file pages that the kernel would drop first. `docker stats` prints the same.
	Memory int64
}

// NewEngine connects to the engine that the docker command uses.
func NewEngine(ctx context.Context) (*Engine, error) {
	out, err := docker(ctx, nil, "context", "inspect", "-f", "{{.Endpoints.docker.Host}}")
	if err != nil {
		return nil, err
	}
	network, addr, ok := strings.Cut(strings.TrimSpace(out), "://")
	if !ok || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("the engine is at %q: only unix:// and tcp:// are supported", strings.TrimSpace(out))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	return &Engine{&http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}, "http://engine/v1.41"}, nil
}

// Usage returns what the container has used until now.
func (e *Engine) Usage(ctx context.Context, container string) (Usage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.base+"/containers/"+container+"/stats?stream=false&one-shot=true", http.NoBody)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", container, err)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", container, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Usage{}, fmt.Errorf("usage of %s: %s", container, resp.Status)
	}
	u, err := decodeUsage(json.NewDecoder(resp.Body))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", container, err)
	}
	return u, nil
}

func decodeUsage(d *json.Decoder) (Usage, error) {
	var stats struct {
		CPU struct {
			Usage struct {
				Total int64 `json:"total_usage"` // nanoseconds
			} `json:"cpu_usage"`
		} `json:"cpu_stats"`
		Memory struct {
			Usage int64            `json:"usage"`
			Stats map[string]int64 `json:"stats"`
		} `json:"memory_stats"`
	}
	if err := d.Decode(&stats); err != nil {
		return Usage{}, err
	}
	if stats.CPU.Usage.Total == 0 || stats.Memory.Usage == 0 {
		return Usage{}, errors.New("the container is not running")
	}
	inactive, ok := stats.Memory.Stats["total_inactive_file"] // cgroup v1
	if !ok {
		inactive = stats.Memory.Stats["inactive_file"] // cgroup v2
	}
	return Usage{CPU: time.Duration(stats.CPU.Usage.Total), Memory: stats.Memory.Usage - inactive}, nil
}
