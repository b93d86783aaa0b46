package database

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// stats exports the statistics of a pool under the names that Prometheus' collector for
// database/sql uses, for which dashboards exist.
type stats struct {
	db      *DB
	metrics []stat
}

type stat struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pgxpool.Stat) float64
}

// RegisterMetrics registers the metrics of the pool with the label db_name set to name.
func (db *DB) RegisterMetrics(reg prometheus.Registerer, name string) {
	s := &stats{db: db}
	add := func(metric, help string, kind prometheus.ValueType, value func(*pgxpool.Stat) float64) {
		desc := prometheus.NewDesc("go_sql_"+metric, help, nil, prometheus.Labels{"db_name": name})
		s.metrics = append(s.metrics, stat{desc, kind, value})
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	add("max_open_connections", "Maximum number of open connections to the database.", gauge,
		func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	add("open_connections", "The number of established connections both in use and idle.", gauge,
		func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	add("in_use_connections", "The number of connections currently in use.", gauge,
		func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	add("idle_connections", "The number of idle connections.", gauge,
		func(s *pgxpool.Stat) float64 { return float64(s.IdleConns()) })
	add("wait_count_total", "The total number of connections waited for.", counter,
		func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) })
	add("wait_duration_seconds_total", "The total time blocked waiting for a new connection.", counter,
		func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() })
	add("max_idle_time_closed_total", "The total number of connections closed because they were idle for too long.", counter,
		func(s *pgxpool.Stat) float64 { return float64(s.MaxIdleDestroyCount()) })
	add("max_lifetime_closed_total", "The total number of connections closed because of their age.", counter,
		func(s *pgxpool.Stat) float64 { return float64(s.MaxLifetimeDestroyCount()) })
	reg.MustRegister(s)
}

// Describe implements prometheus.Collector.
func (s *stats) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range s.metrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (s *stats) Collect(ch chan<- prometheus.Metric) {
	now := s.db.Stat()
	for _, m := range s.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(now))
	}
}
