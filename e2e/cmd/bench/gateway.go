package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/shared/test/pins"
)

const (
	gatewayPath  = "/orders/019abc00-0000-7000-8000-000000000002"
	gatewaySlice = 4 * time.Second // one turn
)

// The upstream answers without work, so that the hop is as large a share of a request as
// possible. It is nginx, because nothing that is at hand costs less CPU for a request.
const (
	nginxHead = `worker_processes auto; worker_rlimit_nofile 8192; error_log /dev/stderr warn; pid /tmp/nginx.pid;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
	client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
`
	nginxUpstream = nginxHead + `	server { listen 8080; location / { default_type application/json;
		return 200 '{"id":"019abc00-0000-7000-8000-000000000002","user_id":1000,"item":"Book","price":1,"status":"PAID","version":2}'; } }
}
`
	nginxProxy = nginxHead + `	upstream service { server upstream:8080; keepalive 128; keepalive_requests 1000000000; }
	server { listen 8080; location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`
)

// measureGateway compares the gateway with nginx as the proxy of the same upstream.
func measureGateway(ctx context.Context, b *bench) (figures []Figure, err error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	running, err := inspect(ctx, s, "gateway")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "gozon-gateway")
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	defer os.RemoveAll(folder)
	n := &network{name: b.project + "-gateway", engine: b.engine}
	defer func() { err = errors.Join(err, n.close(context.WithoutCancel(ctx))) }()
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	nginx := pins.Image("nginx")
	for name, config := range map[string]string{"upstream": nginxUpstream, "nginx": nginxProxy} {
		if err := os.WriteFile(filepath.Join(folder, name+".conf"), []byte(config), 0o644); err != nil { //nolint:gosec // nginx reads it as another user
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	mount := func(name string) []string {
		return []string{"-v", filepath.Join(folder, name+".conf") + ":/etc/nginx/nginx.conf:ro", nginx}
	}
	if _, err := n.start(ctx, "upstream", mount("upstream")...); err != nil {
		return nil, err
	}
	hops := []*hop{{name: "gateway"}, {name: "nginx"}}
	if hops[0].container, err = n.start(ctx, "gateway", gatewayArgs(running)...); err != nil {
		return nil, err
	}
	if hops[1].container, err = n.start(ctx, "nginx", mount("nginx")...); err != nil {
		return nil, err
	}
	for _, h := range hops {
		h.client = load.NewClient(h.container.base, 1)
		if err := waitUntil(ctx, time.Minute, func() (bool, error) {
			status, _, err := h.client.Get(ctx, gatewayPath)
			return err == nil && status == 200, nil
		}); err != nil {
			return nil, fmt.Errorf("%s does not answer: %w", h.name, err)
		}
	}
	for range 2*b.rounds + 1 {
		for _, h := range hops {
			if err := h.measure(ctx, b); err != nil {
				return nil, fmt.Errorf("%s: %w", h.name, err)
			}
		}
	}
	for _, h := range hops { // the first turn was the warm-up
		h.rates, h.cpu = h.rates[1:], h.cpu[1:]
	}
	b.report.Tables = append(b.report.Tables, Table{
		Title: "GETs through one proxy", Header: []string{"proxy", "GETs/s", "CPU time of the proxy for one GET, µs"},
		Rows: [][]string{hops[0].row(), hops[1].row()},
	})
	return []Figure{compared("gateway", ratios(hops[0].rates, hops[1].rates), atLeast(0.65),
		fmt.Sprintf("%s GETs/s against %s of nginx, %d connections", number(median(hops[0].rates)), number(median(hops[1].rates)), connections))}, nil
}

// gatewayArgs returns the arguments to run another container of the gateway, with the
// environment of the shop's gateway except for its routes.
func gatewayArgs(running inspected) []string {
	var args []string
	for _, variable := range running.Config.Env {
		if !strings.HasPrefix(variable, "ROUTES=") {
			args = append(args, "-e", variable)
		}
	}
	return append(args, "-e", "ROUTES=/orders=http://upstream:8080", running.Config.Image)
}

// hop is a proxy that is measured.
type hop struct {
	name       string
	container  container
	client     *load.Client
	rates, cpu []float64 // GETs per second; microseconds of CPU time for one GET
}

func (h *hop) measure(ctx context.Context, b *bench) error {
	before, err := b.engine.CPUTime(ctx, h.container.id)
	if err != nil {
		return err
	}
	start := time.Now()
	n, err := h.client.GetFor(ctx, connections, gatewayPath, gatewaySlice)
	elapsed := time.Since(start)
	if err == nil && n == 0 {
		err = errors.New("no GET was answered")
	}
	if err != nil {
		return err
	}
	after, err := b.engine.CPUTime(ctx, h.container.id)
	if err != nil {
		return err
	}
	h.rates = append(h.rates, float64(n)/elapsed.Seconds())
	h.cpu = append(h.cpu, float64((after-before).Microseconds())/float64(n))
	return nil
}

func (h *hop) row() []string { return []string{h.name, number(median(h.rates)), number(median(h.cpu))} }
