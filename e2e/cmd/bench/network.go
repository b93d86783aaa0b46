package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"gozon/e2e/stack"
)

// network is a network of containers that do not belong to a shop.
type network struct {
	name   string
	engine *stack.Engine
}

// container is a running container of a network.
type container struct {
	id   string
	base string // URL of its port 8080
}

// open creates the network, without the remains of an earlier run.
func (n *network) open(ctx context.Context) error {
	if err := n.close(ctx); err != nil {
		return err
	}
	_, err := docker(ctx, "network", "create", n.name)
	return err
}

// start starts a container that the others reach by its name. args are arguments of
// `docker run`, with the image as the last one.
func (n *network) start(ctx context.Context, name string, args ...string) (container, error) {
	id, err := docker(ctx, append([]string{"run", "-d", "--label", "gozon.bench=" + n.name, "--network", n.name, "--network-alias", name, "-p", "127.0.0.1::8080"}, args...)...)
	if err != nil {
		return container{}, err
	}
	out, err := docker(ctx, "inspect", "-f", "{{json .NetworkSettings}}", id)
	if err != nil {
		return container{}, err
	}
	var settings struct {
		Networks map[string]struct{ IPAddress string }
		Ports    map[string][]struct{ HostPort string }
	}
	if err := json.Unmarshal([]byte(out), &settings); err != nil {
		return container{}, fmt.Errorf("inspect %s: %w", name, err)
	}
	c := container{id: id, base: "http://" + settings.Networks[n.name].IPAddress + ":8080"}
	if ports := settings.Ports["8080/tcp"]; !stack.Connects(ctx, c.base) && len(ports) > 0 {
		c.base = "http://127.0.0.1:" + ports[0].HostPort // the engine runs in a virtual machine
	}
	return c, nil
}

// close deletes the containers and the network.
func (n *network) close(ctx context.Context) error {
	ids, err := docker(ctx, "ps", "-aq", "--filter", "label=gozon.bench="+n.name)
	if err != nil {
		return err
	}
	for id := range strings.FieldsSeq(ids) {
		_, e := docker(ctx, "rm", "-f", "-v", id)
		err = errors.Join(err, e)
	}
	if exec.CommandContext(ctx, "docker", "network", "inspect", n.name).Run() == nil { //nolint:gosec // constants
		_, e := docker(ctx, "network", "rm", n.name)
		err = errors.Join(err, e)
	}
	return err
}

// docker runs a docker command and returns its standard output.
func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("docker %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
