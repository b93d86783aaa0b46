package deadletters

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector counts the open letters at scrape time.
type collector struct {
	store *Store
	open  *prometheus.Desc
}

// RegisterMetrics registers the number of open letters. The metrics of the queues do not
// contain them: collecting empties the queues.
func (s *Store) RegisterMetrics(reg prometheus.Registerer) {
	reg.MustRegister(collector{s, prometheus.NewDesc("dead_letters_open",
		"Dead letters that were collected from the broker and are neither retried nor discarded.", nil, nil)})
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.open }

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var open float64
	if err := c.store.db.QueryRow(ctx, c.store.count).Scan(&open); err != nil {
		ch <- prometheus.NewInvalidMetric(c.open, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, open)
}
