package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lacre/store"
)

// storeMetrics reports the health of the store at every scrape.
type storeMetrics struct {
	*store.Store
	opening opening
}

var (
	storeUp       = prometheus.NewDesc("lacre_store_up", "1 when the store answers a linearizable read and takes writes.", nil, nil)
	storeBytes    = prometheus.NewDesc("lacre_store_bytes", "Size of the store's database file.", nil, nil)
	storeQuota    = prometheus.NewDesc("lacre_store_quota_bytes", "Size at which the store refuses writes.", nil, nil)
	storeRevision = prometheus.NewDesc("lacre_store_revision", "Latest revision of the store.", nil, nil)
	copyOpened    = prometheus.NewDesc("lacre_store_copy_opened", "1 when this process began to serve from the exact copy, before the store was open.", nil, nil)
	copyRevision  = prometheus.NewDesc("lacre_store_copy_revision", "Revision that the copy beside the embedded store has come to; 0 while there is none.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- storeUp
	ch <- storeBytes
	ch <- storeQuota
	ch <- storeRevision
	ch <- copyOpened
	ch <- copyRevision
}

// Collect implements prometheus.Collector.
func (m storeMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	up := 1.0
	if m.Health(ctx) != nil {
		up = 0
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(storeUp, up)
	c := m.opening.CopyStatus()
	gauge(copyRevision, float64(c.Revision))
	opened := 0.0
	if c.Opened {
		opened = 1
	}
	gauge(copyOpened, opened)
	s, err := m.Stats(ctx)
	if err != nil {
		return
	}
	gauge(storeBytes, float64(s.DBBytes))
	gauge(storeQuota, float64(s.QuotaBytes))
	gauge(storeRevision, float64(s.Revision))
}

// apiNotAfter is what to alert on where nobody replaces the files.
func apiNotAfter(f *keyFiles) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lacre_api_certificate_not_after_timestamp_seconds",
		Help: "When the certificate that the API presents expires.",
	}, func() float64 { return float64(f.used.Load().Leaf.NotAfter.Unix()) })
}
