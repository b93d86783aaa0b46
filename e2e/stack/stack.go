// Package stack runs a whole shop from the repository's compose file, beside any
// shop that is running: its project, ports and volumes are its own.
package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const readyWithin = 3 * time.Minute

// Options of [Up].
type Options struct {
	Project string         // the compose project
	Scale   map[string]int // replicas by service; 1 when not named
	Env     []string       // more variables for the compose file, as KEY=value
	Log     io.Writer      // what compose and docker print
}

// Stack is a running shop.
type Stack struct {
	Options
	Page string // http://127.0.0.1:port of the web page
	API  string // http://127.0.0.1:port of the gateway
	root string
	env  []string
}

// Up builds and starts a shop and waits until both of its doors answer. What an
// earlier run of the same project left behind is deleted first; when Up fails, it
// leaves nothing behind itself.
func Up(ctx context.Context, o Options) (*Stack, error) {
	_, here, _, _ := runtime.Caller(0)
	s := &Stack{Options: o, root: filepath.Join(filepath.Dir(here), "..", "..")}
	page, gateway := freePort(ctx, 11000), freePort(ctx, 15000)
	s.Page, s.API = "http://127.0.0.1:"+page, "http://127.0.0.1:"+gateway
	s.env = append(os.Environ(), append([]string{
		"COMPOSE_PROJECT_NAME=" + o.Project, "BIND_ADDR=127.0.0.1", "FRONTEND_PORT=" + page, "GATEWAY_PORT=" + gateway,
	}, o.Env...)...)
	if err := s.Down(ctx); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Start builds and starts what is not running, with the scale of the options, and
// waits until the shop is ready.
func (s *Stack) Start(ctx context.Context) error {
	args := []string{"up", "-d", "--build"}
	for service, n := range s.Scale {
		args = append(args, "--scale", service+"="+strconv.Itoa(n))
	}
	if err := s.Compose(ctx, args...); err != nil {
		return err
	}
	return s.Wait(ctx)
}

// Set changes variables for the compose file, as KEY=value, from the next Start on.
func (s *Stack) Set(env ...string) { s.env = append(s.env, env...) }

// Down stops the shop and deletes all that it had.
func (s *Stack) Down(ctx context.Context) error {
	return s.Compose(ctx, "down", "--volumes", "--remove-orphans", "--timeout", "5")
}

// Compose runs the compose command on this shop.
func (s *Stack) Compose(ctx context.Context, args ...string) error {
	command := strings.Fields(os.Getenv("COMPOSE"))
	if len(command) == 0 {
		command = []string{"docker", "compose"}
		if exec.CommandContext(ctx, "docker", "compose", "version").Run() != nil {
			command = []string{"docker-compose"}
		}
	}
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], args...)...) //nolint:gosec // the command is the developer's own
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.root, s.env, s.Log, s.Log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compose %s: %w", args[0], err)
	}
	return nil
}

// Wait waits until the page answers and the gateway misses nothing.
func (s *Stack) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		page, _ := get(ctx, s.Page+"/")
		ready, body := get(ctx, s.API+"/readyz")
		if page == http.StatusOK && ready == http.StatusOK && strings.Contains(body, `"ready"`) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the shop is not ready: page %d, gateway %d %s", page, ready, body)
		}
	}
}

func get(ctx context.Context, url string) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return resp.StatusCode, string(body)
}

// Container is one container of the shop.
type Container struct {
	ID, Service, IP string
	PID             int
}

// Containers lists the running containers of a service, oldest first.
func (s *Stack) Containers(ctx context.Context, service string) ([]Container, error) {
	out, err := docker(ctx, nil, "ps", "-q", "--filter", "label=com.docker.compose.project="+s.Project,
		"--filter", "label=com.docker.compose.service="+service)
	if err != nil {
		return nil, err
	}
	var all []Container
	for id := range strings.FieldsSeq(out) {
		line, err := docker(ctx, nil, "inspect", "-f", "{{.State.Pid}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}", id)
		if err != nil {
			return nil, err
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue // it ended meanwhile
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, fmt.Errorf("pid of %s: %w", id, err)
		}
		all = append(all, Container{ID: id, Service: service, PID: pid, IP: fields[len(fields)-1]})
	}
	slices.Reverse(all)
	return all, nil
}

// Crash ends the main process of a container from outside, as a crash would: the
// restart policy answers that, unlike docker kill.
func (s *Stack) Crash(ctx context.Context, c Container) error {
	err := syscall.Kill(c.PID, syscall.SIGKILL)
	if err == nil || errors.Is(err, syscall.ESRCH) && runtime.GOOS == "linux" {
		return nil
	}
	// The engine runs elsewhere (a virtual machine), or this user may not: a helper
	// container beside the engine may.
	image, err := docker(ctx, nil, "inspect", "-f", "{{.Config.Image}}", c.ID)
	if err != nil {
		return err
	}
	if c.Service == "orders" || c.Service == "payments" || c.Service == "gateway" {
		if image = os.Getenv("POSTGRES_IMAGE"); image == "" { // theirs have no kill
			image = "postgres:17"
		}
	}
	_, err = docker(ctx, nil, "run", "--rm", "--privileged", "--pid=host", "--entrypoint", "kill", strings.TrimSpace(image), "-9", strconv.Itoa(c.PID))
	return err
}

// SQL runs a query as the database's administrator and returns its rows, the
// columns separated by "|".
func (s *Stack) SQL(ctx context.Context, query string) (string, error) {
	return s.SQLInput(ctx, query+";\n")
}

// SQLInput is SQL for a script of psql's own.
func (s *Stack) SQLInput(ctx context.Context, script string) (string, error) {
	db, err := s.Containers(ctx, "postgres")
	if err != nil {
		return "", err
	}
	if len(db) == 0 {
		return "", errors.New("postgres is not running")
	}
	out, err := docker(ctx, strings.NewReader(script), "exec", "-i", db[0].ID, "psql", "-U", "gozon", "-d", "gozon", "-AtXq", "-v", "ON_ERROR_STOP=1")
	return strings.TrimSpace(out), err
}

// docker runs the docker command and returns what it printed.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // fixed words and container ids
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// freePort finds one of the 4000 ports from first on at which nobody listens. They lie
// below those that the kernel assigns to whoever asks for any, so nobody is given the
// port before its container has it, or while the container restarts.
func freePort(ctx context.Context, first int) string {
	for {
		port := strconv.Itoa(first + rand.IntN(4000)) //nolint:gosec // it is no secret
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return port
		}
		_ = conn.Close() // taken
	}
}
