package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stop stops a container as an operator would, and removes it. It fails if the process had
// to be killed or did not end with the code 0.
func (s *Stack) Stop(ctx context.Context, c Container) error {
	if _, err := docker(ctx, nil, "stop", "-t", "30", c.ID); err != nil {
		return err
	}
	code, err := docker(ctx, nil, "inspect", "-f", "{{.State.ExitCode}}", c.ID)
	if err != nil {
		return err
	}
	if code = strings.TrimSpace(code); code != "0" {
		err = fmt.Errorf("%s did not stop cleanly: exit code %s", c.Service, code)
	}
	_, rmErr := docker(ctx, nil, "rm", c.ID)
	return errors.Join(err, rmErr)
}

// StartMissing starts the replicas of a service that are missing from s.Scale, from the
// newest images and the compose file in s.Dir. It does not touch the running ones. It returns
// once the new replicas are ready.
func (s *Stack) StartMissing(ctx context.Context, service string) error {
	running, err := s.Containers(ctx, service)
	if err != nil {
		return err
	}
	if err := s.Compose(ctx, "up", "-d", "--no-deps", "--no-recreate", "--scale", service+"="+strconv.Itoa(s.Scale[service]), service); err != nil {
		return err
	}
	all, err := s.Containers(ctx, service)
	if err != nil {
		return err
	}
	for _, c := range all {
		if slices.ContainsFunc(running, func(r Container) bool { return r.ID == c.ID }) {
			continue
		}
		if err := poll(ctx, func() error {
			_, err := docker(ctx, nil, "exec", c.ID, "/"+service, "healthcheck")
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// WaitForReplicas waits until each gateway has discovered n replicas of a service.
func (s *Stack) WaitForReplicas(ctx context.Context, service string, n int) error {
	gateways, err := s.Containers(ctx, "gateway")
	if err != nil {
		return err
	}
	nginx, err := s.Containers(ctx, "frontend") // it is in the network of the gateways, has bash, and exists once
	if err != nil {
		return err
	}
	if len(nginx) == 0 {
		return errors.New("the frontend is not running")
	}
	want := fmt.Sprintf("upstream_replicas{service=%q} %d", service+":8080", n)
	for _, g := range gateways {
		script := `exec 3<>/dev/tcp/` + g.IP + `/9090; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; grep '^upstream_replicas' <&3`
		if err := poll(ctx, func() error {
			out, err := docker(ctx, nil, "exec", nginx[0].ID, "bash", "-c", script)
			if err == nil && !strings.Contains(out, want+"\n") {
				err = fmt.Errorf("a gateway reports %q, want %q", out, want)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// poll calls fn until it succeeds. It returns the last error of fn after readyWithin.
func poll(ctx context.Context, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}
