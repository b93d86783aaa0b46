package delivery

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reads the depth of the outbox and the age of its oldest row at scrape time;
// nothing is counted on the hot path.
type collector struct {
	store      *Store
	depth, age *prometheus.Desc
}

func newCollector(s *Store) collector {
	return collector{
		store: s,
		depth: prometheus.NewDesc("outbox_rows", "Events waiting to be published.", nil, nil),
		age:   prometheus.NewDesc("outbox_oldest_age_seconds", "Age of the oldest event waiting to be published.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.depth; ch <- c.age }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var depth, age float64
	if err := c.store.DB.QueryRow(ctx, c.store.outbox.depthAndAge).Scan(&depth, &age); err != nil {
		ch <- prometheus.NewInvalidMetric(c.depth, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, depth)
	ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age)
}
