package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Engine reads the CPU time and the memory of containers from the API of the Docker engine
// (20.10 or newer). It is safe for concurrent use.
type Engine struct {
	http *http.Client
	base string
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

// containerStats are statistics of a container.
type containerStats struct {
	CPU struct {
		Usage struct {
			Total time.Duration `json:"total_usage"` // nanoseconds
		} `json:"cpu_usage"`
	} `json:"cpu_stats"`
	Memory struct {
		Usage, Limit int64
		Stats        struct {
			InactiveFile      int64 `json:"inactive_file"`       // cgroup v2
			TotalInactiveFile int64 `json:"total_inactive_file"` // cgroup v1, which has the other one too
		}
	} `json:"memory_stats"`
}

func (e *Engine) stats(ctx context.Context, container string) (s containerStats, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.base+"/containers/"+container+"/stats?stream=false&one-shot=true", http.NoBody)
	if err != nil {
		return s, fmt.Errorf("statistics of %s: %w", container, err)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return s, fmt.Errorf("statistics of %s: %w", container, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("statistics of %s: %s", container, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("statistics of %s: %w", container, err)
	}
	if s.CPU.Usage.Total == 0 {
		return s, fmt.Errorf("statistics of %s: it is not running", container)
	}
	return s, nil
}

// CPUTime returns the CPU time of all processes of a container since it started.
func (e *Engine) CPUTime(ctx context.Context, container string) (time.Duration, error) {
	s, err := e.stats(ctx, container)
	return s.CPU.Usage.Total, err
}

// Memory returns the memory that counts against the limit of a container, in bytes: that of
// its processes, of its sockets and of the files in its tmpfs, without the page cache that
// can be dropped. It also returns the limit.
func (e *Engine) Memory(ctx context.Context, container string) (used, limit int64, err error) {
	s, err := e.stats(ctx, container)
	m := s.Memory
	return m.Usage - max(m.Stats.InactiveFile, m.Stats.TotalInactiveFile), m.Limit, err
}

// ResidentMemory returns the resident memory (RSS) of all processes of a container in bytes,
// including the mapped pages of their executables.
func (s *Stack) ResidentMemory(ctx context.Context, c Container) (int64, error) {
	out, err := docker(ctx, nil, "top", c.ID, "-o", "pid,rss")
	if err != nil {
		return 0, err
	}
	return sumRSS(out)
}

// sumRSS adds the second column of the output of ps, which is in KiB.
func sumRSS(out string) (int64, error) {
	_, rows, _ := strings.Cut(out, "\n") // without the header
	var sum int64
	for line := range strings.Lines(rows) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return 0, fmt.Errorf("docker top printed %q, want a pid and its resident memory", line)
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("docker top: %w", err)
		}
		sum += kib << 10
	}
	if sum == 0 {
		return 0, errors.New("docker top printed no process")
	}
	return sum, nil
}
