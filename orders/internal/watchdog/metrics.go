package watchdog

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const readTimeout = 2 * time.Second

// collector counts the overdue orders at scrape time.
type collector struct {
	store         Store
	limit         time.Duration
	overdue, aged *prometheus.Desc
}

func newCollector(s Store, limit time.Duration) collector {
	return collector{
		store: s, limit: limit,
		overdue: prometheus.NewDesc("orders_overdue", "Orders that wait for payments for too long.", nil, nil),
		aged:    prometheus.NewDesc("orders_overdue_oldest_age_seconds", "Time that the oldest overdue order has waited.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.overdue; ch <- c.aged }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	n, oldest, err := c.store.Overdue(ctx, c.limit)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.overdue, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.overdue, prometheus.GaugeValue, float64(n))
	ch <- prometheus.MustNewConstMetric(c.aged, prometheus.GaugeValue, oldest.Seconds())
}
