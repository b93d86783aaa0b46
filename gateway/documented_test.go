package main

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"gozon/shared/test/docstest"
)

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var cfg config
	cfg.Service.RegistryFunc = func(reg *prometheus.Registry) {
		docstest.Metrics(t, "gateway", reg)
		stop()
	}
	require.Zero(t, program(&cfg).Run(ctx, nil, map[string]string{
		"HTTP_ADDR": "127.0.0.1:0", "METRICS_ADDR": "localhost:0",
		"ROUTES": "/orders=http://127.0.0.1:1", "OPENAPI_FILE": "../docs/openapi.yaml",
	}, t.Output()))
	require.Error(t, ctx.Err(), "the service did not start")
}
