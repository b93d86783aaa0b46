package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"gozon/e2e/stack"
)

// yardsticks runs the program of the module e2e/yardsticks in a container, on the network of
// PostgreSQL and RabbitMQ.
type yardsticks struct {
	shop   *shop
	folder string // holds the binary
	image  string // any image with a file system; it is the one of PostgreSQL
	broker string // the container of RabbitMQ
	env    []string
}

// brokerUser is a user of RabbitMQ that exists during a benchmark: no user of the shop may
// declare a queue for it.
const brokerUser = "bench"

// buildYardsticks builds the program. The caller must close it.
func buildYardsticks(ctx context.Context, s *shop) (*yardsticks, error) {
	folder, err := os.MkdirTemp("", "gozon-yardsticks")
	if err != nil {
		return nil, fmt.Errorf("yardsticks: %w", err)
	}
	y := &yardsticks{shop: s, folder: folder}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(folder, "yardsticks"), ".") //nolint:gosec // constants
	cmd.Dir = filepath.Join(stack.Root(), "e2e", "yardsticks")
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build yardsticks: %w: %s", err, out), y.close(ctx))
	}
	if err := y.inspect(ctx); err != nil {
		return nil, errors.Join(err, y.close(ctx))
	}
	return y, nil
}

func (y *yardsticks) close(ctx context.Context) error {
	err := os.RemoveAll(y.folder)
	if y.broker != "" {
		_, deleted := docker(context.WithoutCancel(ctx), "exec", y.broker, "rabbitmqctl", "delete_user", brokerUser)
		err = errors.Join(err, deleted)
	}
	return err
}

// inspect reads the image of PostgreSQL and the password that it was started with, and adds a
// user to RabbitMQ.
func (y *yardsticks) inspect(ctx context.Context) error {
	db, err := inspect(ctx, y.shop, "postgres")
	if err != nil {
		return err
	}
	secrets, err := y.shop.Secrets()
	if err != nil {
		return err
	}
	broker, err := y.shop.Containers(ctx, "rabbitmq")
	if err != nil {
		return err
	}
	y.broker = broker[0].ID
	password := rand.Text()
	for _, command := range [][]string{{"add_user", brokerUser, password}, {"set_permissions", brokerUser, ".*", ".*", ".*"}} {
		if _, err := docker(ctx, append([]string{"exec", y.broker, "rabbitmqctl"}, command...)...); err != nil {
			return fmt.Errorf("rabbitmqctl %s: %w", command[0], err)
		}
	}
	y.image = db.Config.Image
	y.env = []string{
		"DATABASE_URL=postgres://orders_owner:" + secrets["orders_owner_db_password"] + "@postgres:5432/gozon?sslmode=disable&search_path=bench",
		"AMQP_URL=amqp://" + brokerUser + ":" + password + "@rabbitmq:5672/",
	}
	return nil
}

// run runs a yardstick and returns its result. The CPU time is that of the container of the
// server and that of the program itself.
func (y *yardsticks) run(ctx context.Context, server, yardstick string, orders, clients int) (result, error) {
	args := []string{"run", "--rm", "--network", y.shop.Project + "_data", "-v", y.folder + ":/yardsticks:ro", "--entrypoint", "/yardsticks/yardsticks"}
	for _, variable := range y.env {
		args = append(args, "-e", variable)
	}
	args = append(args, y.image, yardstick, "-orders", strconv.Itoa(orders), "-clients", strconv.Itoa(clients), "-users", strconv.Itoa(users))
	m, err := startMeter(ctx, y.shop.engine, y.shop.Stack, server)
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("yardstick %s: %w: %s", yardstick, err, stderr.String())
	}
	fmt.Fprint(y.shop.Log, stderr.String())
	cpu, err := m.used(ctx)
	if err != nil {
		return result{}, err
	}
	var printed struct {
		Orders  int     `json:"orders"`
		Seconds float64 `json:"seconds"`
		CPU     float64 `json:"cpu_seconds"`
	}
	if err := json.Unmarshal(out, &printed); err != nil {
		return result{}, fmt.Errorf("yardstick %s printed %q: %w", yardstick, out, err)
	}
	cpu["client"] = seconds(printed.CPU)
	return result{orders: printed.Orders, elapsed: seconds(printed.Seconds), cpu: cpu}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// inspected is a part of what `docker inspect` prints about a container.
type inspected struct {
	Config struct {
		Image string
		Env   []string
	}
	State struct{ StartedAt time.Time }
}

// inspect describes the only container of a service.
func inspect(ctx context.Context, s *shop, service string) (inspected, error) {
	found, err := s.Containers(ctx, service)
	if err != nil {
		return inspected{}, err
	}
	if len(found) != 1 {
		return inspected{}, fmt.Errorf("%s has %d containers, want 1", service, len(found))
	}
	out, err := docker(ctx, "inspect", found[0].ID)
	if err != nil {
		return inspected{}, fmt.Errorf("inspect %s: %w", service, err)
	}
	var all []inspected
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		return inspected{}, fmt.Errorf("inspect %s: %d containers, %w", service, len(all), err)
	}
	return all[0], nil
}
