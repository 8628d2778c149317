package edge

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds each metric that has a series for every certificate.
const maxSeries = 10_000

// ending is a time at which something of a certificate ends.
type ending struct {
	at time.Time
	of *served
}

func (e ending) compare(f ending) int {
	return cmp.Or(e.at.Compare(f.at), cmp.Compare(e.of.key.id, f.of.key.id))
}

// soonest keeps the maxSeries first of any number of endings, without sorting the others.
type soonest struct {
	kept []ending // up to twice as many as wanted
	last *ending  // what comes after it is not wanted; nil: there were not that many yet
}

func (s *soonest) add(at time.Time, of *served) {
	e := ending{at, of}
	if s.last != nil && e.compare(*s.last) > 0 {
		return
	}
	if s.kept = append(s.kept, e); len(s.kept) == 2*maxSeries {
		s.cut()
	}
}

func (s *soonest) cut() {
	slices.SortFunc(s.kept, ending.compare)
	if len(s.kept) >= maxSeries {
		s.kept = s.kept[:maxSeries]
		last := s.kept[maxSeries-1]
		s.last = &last
	}
}

// collect shows the endings as seconds since 1970, labelled with project and certificate.
func (s *soonest) collect(ch chan<- prometheus.Metric, as *prometheus.Desc) {
	s.cut()
	for _, e := range s.kept {
		ch <- prometheus.MustNewConstMetric(as, prometheus.GaugeValue, float64(e.at.Unix()), e.of.key.project, e.of.key.id)
	}
}
