// Package stack runs a complete shop from the repository's compose file. The shop has its
// own project, ports and volumes, so other shops can run at the same time.
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

	"gozon/shared/test/pins"
)

const readyWithin = 3 * time.Minute

// Options configures [Up]. The shop does not limit its clients, because the tests and benchmarks
// send all requests from one address. Env can set limits.
type Options struct {
	Project string         // name of the compose project
	Dir     string         // folder of the compose file; the default is this repository
	Scale   map[string]int // replicas by service; the default is 1
	Env     []string       // additional variables for the compose file, as KEY=value
	Log     io.Writer      // receives the output of compose
}

// Stack is a running shop.
type Stack struct {
	Options
	Page string // base URL of the web page, http://127.0.0.1:port
	API  string // base URL of the gateway, or of one of several, http://127.0.0.1:port
	// Database is the service with the primary of the database, "postgres" until a failover.
	Database string
	env      []string
}

// Root returns the root folder of the repository.
func Root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..")
}

// Up builds and starts a shop and waits until it is ready. It first deletes the remains of
// an earlier run of the same project. If it fails, it deletes what it created.
func Up(ctx context.Context, o Options) (*Stack, error) {
	if o.Dir == "" {
		o.Dir = Root()
	}
	s := &Stack{Options: o, Database: "postgres"}
	page, gateway := freePort(ctx, 11000), freePort(ctx, 15000)
	s.Page, s.API = fmt.Sprint("http://127.0.0.1:", page), fmt.Sprint("http://127.0.0.1:", gateway)
	gateways := strconv.Itoa(gateway)
	if n := o.Scale["gateway"]; n > 1 {
		gateways += "-" + strconv.Itoa(gateway+n-1) // each replica gets a port of the range
	}
	s.env = append(os.Environ(), append([]string{
		"LIMIT_READS=off", "LIMIT_WRITES=off", "LIMIT_KEYS=off", "LIMIT_STREAMS=0", "LIMIT_OPEN_ORDERS=0",
		"COMPOSE_PROJECT_NAME=" + o.Project, "BIND_ADDR=127.0.0.1", "FRONTEND_PORT=" + strconv.Itoa(page), "GATEWAY_PORT=" + gateways,
	}, o.Env...)...)
	if err := s.Down(ctx); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Start builds the images, starts the services that are not running, scales them to
// s.Scale, and waits until the shop is ready.
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

// Set sets variables of the compose file, as KEY=value. The next Start applies them.
func (s *Stack) Set(env ...string) { s.env = append(s.env, env...) }

// Down stops the shop and deletes its containers, networks and volumes.
func (s *Stack) Down(ctx context.Context) error {
	return s.Compose(ctx, "down", "--volumes", "--remove-orphans", "--timeout", "5")
}

// Compose runs a compose command on this shop.
func (s *Stack) Compose(ctx context.Context, args ...string) error {
	command := composeCommand(ctx)
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], args...)...) //nolint:gosec // COMPOSE is set by the developer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, s.env, s.Log, s.Log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compose %s: %w", args[0], err)
	}
	return nil
}

// Wait waits until the page responds and the gateway reaches the other services, which an
// audit needs.
func (s *Stack) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		page, _ := get(ctx, s.Page+"/")
		audit, body := get(ctx, s.API+"/audit")
		if page == http.StatusOK && audit == http.StatusOK {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the shop is not ready: page %d, audit %d %s", page, audit, body)
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

// Container is a container of the shop.
type Container struct {
	ID, Service string
	IP          string // in the last of its networks by name: data for the services, edge for the gateway
	PID         int
}

// Containers returns the running containers of a service, oldest first.
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
			continue // it has stopped since docker ps
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

// Crash kills the main process of a container from outside the engine. The engine sees a
// crash and applies the restart policy, which it does not do after docker kill.
func (s *Stack) Crash(ctx context.Context, c Container) error {
	err := syscall.Kill(c.PID, syscall.SIGKILL)
	if err == nil || errors.Is(err, syscall.ESRCH) && runtime.GOOS == "linux" {
		return nil
	}
	// The engine runs in a virtual machine, or this user may not signal the process. Use a
	// privileged container in the engine's process namespace.
	image, err := docker(ctx, nil, "inspect", "-f", "{{.Config.Image}}", c.ID)
	if err != nil {
		return err
	}
	if c.Service == "orders" || c.Service == "payments" || c.Service == "gateway" {
		image = pins.Image("postgres") // the service images contain no kill command
	}
	_, err = docker(ctx, nil, "run", "--rm", "--privileged", "--pid=host", "--entrypoint", "kill", strings.TrimSpace(image), "-9", strconv.Itoa(c.PID))
	return err
}

// SQL runs a query as the database administrator. It returns the rows, with the columns
// separated by "|".
func (s *Stack) SQL(ctx context.Context, query string) (string, error) {
	return s.SQLInput(ctx, query+";\n")
}

// SQLInput is like SQL, but runs a psql script.
func (s *Stack) SQLInput(ctx context.Context, script string) (string, error) {
	return s.SQLOn(ctx, s.Database, script)
}

// SQLOn is like SQLInput, but for the database server that is the given service.
func (s *Stack) SQLOn(ctx context.Context, service, script string) (string, error) {
	db, err := s.Containers(ctx, service)
	if err != nil {
		return "", err
	}
	if len(db) == 0 {
		return "", fmt.Errorf("%s is not running", service)
	}
	out, err := docker(ctx, strings.NewReader(script), "exec", "-i", db[0].ID, "psql", "-U", "gozon", "-d", "gozon", "-AtXq", "-v", "ON_ERROR_STOP=1")
	return strings.TrimSpace(out), err
}

// docker runs a docker command and returns its standard output.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// freePort returns a port that is not in use, out of the 4000 ports from first on. They are
// below the kernel's ephemeral port range, so no other process is assigned the port before
// the container binds it or while the container restarts.
func freePort(ctx context.Context, first int) int {
	for {
		port := first + rand.IntN(4000) //nolint:gosec // a port number is not a secret
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return port
		}
		_ = conn.Close() // in use
	}
}
