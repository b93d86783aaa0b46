package main

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	retries  *prometheus.CounterVec
	failures *prometheus.CounterVec
	replicas *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_retries_total", Help: "Attempts to send a request after the first one, by service.",
		}, []string{"service"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "upstream_failures_total", Help: "Requests without a response from the service, by service and kind of failure.",
		}, []string{"service", "kind"}),
		replicas: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "upstream_replicas", Help: "Known replicas, by service.",
		}, []string{"service"}),
	}
	reg.MustRegister(m.retries, m.failures, m.replicas)
	return m
}
